"""A run over rows: its lines, their order, and how it goes on."""

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from attrs import frozen

from gateway.core import Json
from gateway.errors import ConfigError
from gateway.rollouts.collect import Collection
from gateway.rollouts.known import Known
from gateway.rollouts.loop.patience import Patience
from gateway.rollouts.output import Output
from gateway.rollouts.report.progress import Progress
from gateway.rollouts.rollout import Rollouts
from gateway.rollouts.settings import Settings
from tests.fake_vllm import Answer, FakeVllm, Hang, Received, Status
from tests.gateway.rollouts.scripted import RESPONSES, Stage, message, read, response, row, write

FAILED = Status(400, {"error": {"message": "no"}})
GOOD = response(message())


@frozen
class Asked:
    """The answer to each question."""

    answers: dict[str, Answer]

    async def send(self, request: web.Request, received: Received) -> web.StreamResponse:
        return await self.answers[question(received.body)].send(request, received)


def question(params: Json) -> str:
    text: str = params["input"][0]["content"]
    return text


def settings(folder: Path, *questions: str, **fields: Any) -> Settings:
    """A run over a row for each of these questions."""
    path = write(folder / "in.jsonl", *map(row, questions))
    return Settings(str(path), str(folder / "out.jsonl"), **fields)


@asynccontextmanager
async def collection(given: Settings) -> AsyncIterator[Collection]:
    output = Output.open(Path(given.output_jsonl_fpath), resume=given.resume_from_cache)
    with Known() as known:
        async with output:
            made = Collection(given, output, known)
            await made.take_up()
            yield made


async def run(on: Stage, fake: FakeVllm, given: Settings) -> Collection:
    """All of it, against this model."""
    async with collection(given) as made:
        await made.run(*makers(on, fake, given))
    return made


def makers(on: Stage, fake: FakeVllm, given: Settings) -> tuple[Rollouts, Progress]:
    server, told, patience = on.server(fake.url), on.answered.append, Patience(limit=0)
    rollouts = Rollouts(given, server, on.server, "policy", "run", told, patience)
    return rollouts, Progress(io.StringIO(), 1)


def answers(fake: FakeVllm, n: int = 100, **answers: Answer) -> None:
    fake.script(*[Asked(answers)] * n, path=RESPONSES)


def lines(folder: Path) -> list[Json]:
    return read(folder / "out.jsonl")


def questions(folder: Path) -> list[str]:
    return [question(line["responses_create_params"]) for line in lines(folder)]


def ends(folder: Path) -> dict[str, str]:
    found = {question(line["responses_create_params"]): line for line in lines(folder)}
    return {asked: line["_gateway"]["end"] for asked, line in found.items()}


async def test_each_row_is_a_line(tmp_path: Path, on: Stage, fake: FakeVllm) -> None:
    answers(fake, a=GOOD, b=GOOD, c=GOOD)
    made = await run(on, fake, settings(tmp_path, "a", "b", "c"))
    assert sorted(questions(tmp_path)) == ["a", "b", "c"]
    assert made.summary.rollouts == 3


async def test_a_failed_rollout_does_not_end_the_run(
    tmp_path: Path, on: Stage, fake: FakeVllm
) -> None:
    answers(fake, a=GOOD, b=FAILED, c=GOOD)
    made = await run(on, fake, settings(tmp_path, "a", "b", "c", num_samples_in_parallel=1))
    assert ends(tmp_path) == {"a": "message", "b": "failed", "c": "message"}
    assert made.summary.failed == 1


async def test_a_rollout_is_a_line_as_soon_as_it_is_finished(
    tmp_path: Path, on: Stage, fake: FakeVllm
) -> None:
    hang = Hang(then=GOOD)
    answers(fake, a=hang, b=GOOD)
    given = settings(tmp_path, "a", "b")
    async with collection(given) as made:
        running = asyncio.create_task(made.run(*makers(on, fake, given)))
        while not lines(tmp_path):
            await asyncio.sleep(0)
        assert questions(tmp_path) == ["b"]
        hang.event.set()
        await running
    assert questions(tmp_path) == ["b", "a"]


async def test_so_many_run_at_once_and_no_more(tmp_path: Path, on: Stage, fake: FakeVllm) -> None:
    hang = Hang(then=GOOD)
    names = [f"q{i}" for i in range(8)]
    fake.script(*[hang] * 8, path=RESPONSES)
    given = settings(tmp_path, *names, num_samples_in_parallel=3)
    async with collection(given) as made:
        running = asyncio.create_task(made.run(*makers(on, fake, given)))
        await fake.received(3)
        assert fake.running == 3
        hang.event.set()
        await running
    assert len(lines(tmp_path)) == 8


async def test_lines_may_come_in_the_order_of_the_input(
    tmp_path: Path, on: Stage, fake: FakeVllm
) -> None:
    hang = Hang(then=GOOD)
    answers(fake, a=hang, b=GOOD, c=GOOD)
    given = settings(tmp_path, "a", "b", "c", order="input", num_repeats=2)
    async with collection(given) as made:
        running = asyncio.create_task(made.run(*makers(on, fake, given)))
        while made.summary.rollouts < 4:
            await asyncio.sleep(0)
        hang.event.set()
        await running
    assert questions(tmp_path) == ["a", "a", "b", "b", "c", "c"]
    assert [line["_ng_rollout_index"] for line in lines(tmp_path)] == [0, 1] * 3


async def test_what_is_there_is_counted_and_not_made_again(
    tmp_path: Path, on: Stage, fake: FakeVllm
) -> None:
    answers(fake, a=GOOD, b=FAILED, c=GOOD)
    await run(on, fake, settings(tmp_path, "a", "b", limit=2))
    before = (tmp_path / "out.jsonl").read_bytes()
    given = settings(tmp_path, "a", "b", "c", resume_from_cache=True)
    made = await run(on, fake, given)
    assert (tmp_path / "out.jsonl").read_bytes().startswith(before)
    assert len(fake.requests) == 3
    assert (made.summary.rollouts, made.summary.failed) == (3, 1)


async def test_more_repeats_make_the_ones_that_are_missing(
    tmp_path: Path, on: Stage, fake: FakeVllm
) -> None:
    answers(fake, a=GOOD, b=GOOD)
    await run(on, fake, settings(tmp_path, "a", "b"))
    await run(on, fake, settings(tmp_path, "a", "b", num_repeats=3, resume_from_cache=True))
    keys = [(line["_ng_task_index"], line["_ng_rollout_index"]) for line in lines(tmp_path)]
    assert sorted(keys) == [(task, rollout) for task in (0, 1) for rollout in (0, 1, 2)]


async def test_failed_rollouts_are_made_again_and_no_others(
    tmp_path: Path, on: Stage, fake: FakeVllm
) -> None:
    answers(fake, n=3, a=GOOD, b=FAILED, c=GOOD)
    await run(on, fake, settings(tmp_path, "a", "b", "c"))
    answers(fake, b=GOOD)
    again = settings(tmp_path, "a", "b", "c", resume_from_cache=True, retry_failed=True)
    made = await run(on, fake, again)
    assert ends(tmp_path) == dict.fromkeys("abc", "message")
    assert len(lines(tmp_path)) == 3
    assert question(fake.requests[-1].body) == "b"
    assert (len(fake.requests), made.summary.rollouts, made.summary.failed) == (4, 3, 0)


async def test_what_was_finished_when_it_is_cancelled_is_there(
    tmp_path: Path, on: Stage, fake: FakeVllm
) -> None:
    answers(fake, a=GOOD, b=Hang(), c=GOOD)
    given = settings(tmp_path, "a", "b", "c")
    async with collection(given) as made:
        running = asyncio.create_task(made.run(*makers(on, fake, given)))
        while made.summary.rollouts < 2:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert sorted(questions(tmp_path)) == ["a", "c"]


@pytest.mark.parametrize(
    "odd", ["{}", "[]", "rollout", "", json.dumps({"_ng_task_index": 0, "_ng_rollout_index": 0})]
)
async def test_what_is_no_rollout_is_not_gone_on_with(tmp_path: Path, odd: str) -> None:
    good = {"_ng_task_index": 0, "_ng_rollout_index": 0, "_gateway": {"end": "message"}}
    first = json.dumps(good)
    (tmp_path / "out.jsonl").write_text(f"{first}\n{odd}\n")
    with pytest.raises(ConfigError) as raised:
        async with collection(settings(tmp_path, "a", resume_from_cache=True)):
            pass
    said = f"what begins at byte {len(first) + 1} is no rollout, so it cannot be gone on with"
    assert raised.value.faults == [f"{said} @ output_jsonl_fpath"]
