"""A process that carries calls, on its own: what it does with what its supervisor says."""

import os
import signal
from pathlib import Path

from gateway.core import Json
from tests.fake_vllm import FakeVllm
from tests.gateway.workers.crew import crew
from tests.serving import HELLO

HAS_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def test_signals_are_the_supervisors(tmp_path: Path) -> None:
    async with FakeVllm() as fake, crew(tmp_path, fake) as made:
        workers = made.workers()
        for worker in workers:
            for number in HAS_SIGNALS:
                os.kill(worker, number)
        statuses = [(await one.post()).status for one in await made.each()]
        assert made.workers() == workers
    assert statuses == [200, 200]


async def test_everything_but_calls_is_the_supervisors_to_answer(tmp_path: Path) -> None:
    async with FakeVllm() as fake, crew(tmp_path, fake) as made:
        answers = {path: await made.get(path) for path in ("/", "/health", "/ready", "/v1/models")}
        unknown = await made.get("/nowhere?a=b")
        session = await made.post({}, "/sessions", {"Authorization": "Bearer admin"})
    assert {answer.status for answer in answers.values()} == {200}
    assert [one["id"] for one in answers["/v1/models"].json["data"]] == ["policy"]
    assert (unknown.status, unknown.json["error"]["code"]) == (404, "unknown_url")
    assert session.status == 201


async def test_each_worker_has_the_middlewares_that_own_something(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    async with FakeVllm() as fake, crew(tmp_path, fake, record=str(folder)) as made:
        for one in await made.each():
            await one.post()
    assert len([file for file in folder.rglob("*") if file.is_file()]) == 2


async def test_all_kinds_of_calls_are_carried(tmp_path: Path) -> None:
    bodies: dict[str, Json] = {
        "/v1/chat/completions": {**HELLO, "stream": True},
        "/v1/responses": {"input": "Hi"},
        "/v1/completions": {"prompt": "Hi"},
        "/tokenize": {"prompt": "Hi"},
        "/detokenize": {"tokens": [1]},
    }
    async with FakeVllm() as fake, crew(tmp_path, fake) as made:
        statuses = [(await made.post(body, path)).status for path, body in bodies.items()]
    assert statuses == [200] * len(bodies)
