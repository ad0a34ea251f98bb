"""A run from its settings to its table, in this process."""

import asyncio
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from gateway.config.structure import Url
from gateway.errors import ConfigError, StartError
from gateway.rollouts.run import run
from gateway.rollouts.settings import Settings
from tests.fake_vllm import FakeVllm, Hang, Status
from tests.gateway.rollouts.scripted import (
    RESPONSES,
    call,
    message,
    read,
    response,
    row,
    write,
)
from tests.tool_server import VERIFY, ToolServer

GOOD = response(message())
FAILED = Status(400, {"error": {"message": "no"}})


def settings(folder: Path, fake: FakeVllm, rows: int = 2, **fields: Any) -> Settings:
    path = write(folder / "in.jsonl", *[row(f"Question {i}?") for i in range(rows)])
    return Settings(str(path), str(folder / "out.jsonl"), url=Url(fake.url), **fields)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def faults(given: Settings) -> list[str]:
    with pytest.raises(StartError) as raised:
        await run(given)
    return raised.value.faults


async def test_all_rollouts_are_there_in_the_end(
    tmp_path: Path, fake: FakeVllm, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.script(GOOD, GOOD, path=RESPONSES)
    assert await run(settings(tmp_path, fake)) == 0
    assert len(read(tmp_path / "out.jsonl")) == 2
    *_, where, picture = capsys.readouterr().out.splitlines()
    assert where == f"rollouts in {tmp_path}/out.jsonl"
    assert picture == f"their distributions in {tmp_path}/out.png"
    assert files(tmp_path).keys() == {"in.jsonl", "out.jsonl", "out.png", "out.run.json"}


async def test_failures_are_a_status_and_told(
    tmp_path: Path, fake: FakeVllm, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.script(FAILED, GOOD, path=RESPONSES)
    assert await run(settings(tmp_path, fake, num_samples_in_parallel=1)) == 1
    out = capsys.readouterr().out
    assert "1 rollouts failed, --retry-failed makes them again" in out


async def test_the_model_is_that_of_the_address(tmp_path: Path, fake: FakeVllm) -> None:
    fake.script(GOOD, path=RESPONSES)
    await run(settings(tmp_path, fake, rows=1))
    assert fake.requests[0].body["model"] == "fake-model"


async def test_the_key_is_sent_and_never_told(
    tmp_path: Path, fake: FakeVllm, capfd: pytest.CaptureFixture[str]
) -> None:
    fake.api_key = "sk-secret"
    fake.script(FAILED, path=RESPONSES)
    await run(settings(tmp_path, fake, rows=1, api_key="sk-secret"))
    assert fake.requests[0].headers["Authorization"] == "Bearer sk-secret"
    said = capfd.readouterr()
    assert "sk-secret" not in said.out + said.err
    assert not any(b"sk-secret" in content for content in files(tmp_path).values())


async def test_the_key_is_not_sent_to_the_tool_server(
    tmp_path: Path, fake: FakeVllm, tools: ToolServer
) -> None:
    fake.script(GOOD, path=RESPONSES)
    await run(settings(tmp_path, fake, rows=1, api_key="sk-secret", tools={"": tools.url}))
    assert [received.path for received in tools.requests] == ["/seed_session", VERIFY]
    assert not any("Authorization" in received.headers for received in tools.requests)


async def test_rows_with_tools_and_no_server_are_told(
    tmp_path: Path, fake: FakeVllm, caplog: pytest.LogCaptureFixture
) -> None:
    fake.script(response(call()), path=RESPONSES)
    with caplog.at_level(logging.WARNING):
        await run(settings(tmp_path, fake, rows=1))
    assert caplog.messages == [
        "1 of 1 rows have tools, and no tool server: their rollouts end at the first calls "
        "(--tools URL runs them)"
    ]


async def test_faults_of_the_input_are_told_before_anything_is_written(
    tmp_path: Path, fake: FakeVllm
) -> None:
    path = write(tmp_path / "in.jsonl", {}, row(), [])  # type: ignore[arg-type]
    given = Settings(str(path), str(tmp_path / "out.jsonl"), url=Url(fake.url))
    assert await faults(given) == [
        f"responses_create_params must be an object @ {path}:1",
        f"the row must be an object @ {path}:3",
    ]
    assert [*files(tmp_path)] == ["in.jsonl"]
    assert fake.looks == []


async def test_an_output_that_holds_rollouts_stays(tmp_path: Path, fake: FakeVllm) -> None:
    fake.script(GOOD, path=RESPONSES)
    await run(settings(tmp_path, fake, rows=1))
    before = files(tmp_path)
    out = tmp_path / "out.jsonl"
    said = f"{out} holds rollouts, --resume goes on with it @ output_jsonl_fpath"
    assert await faults(settings(tmp_path, fake, rows=1)) == [said]
    assert files(tmp_path) == before


async def test_another_input_or_other_parameters_are_refused_by_name(
    tmp_path: Path, fake: FakeVllm
) -> None:
    fake.script(GOOD, GOOD, path=RESPONSES)
    await run(settings(tmp_path, fake))
    before = (tmp_path / "out.jsonl").read_bytes()
    other = settings(tmp_path, fake, rows=1, resume_from_cache=True, max_steps=3)
    terms = tmp_path / "out.run.json"
    assert await faults(other) == [
        "the input is not the one that the output was made of @ input_jsonl_fpath",
        f"the output was made with None ({terms}) @ max_steps",
    ]
    assert (tmp_path / "out.jsonl").read_bytes() == before


async def test_nothing_is_left_to_do_when_all_is_there(tmp_path: Path, fake: FakeVllm) -> None:
    fake.script(GOOD, GOOD, path=RESPONSES)
    await run(settings(tmp_path, fake))
    before = (tmp_path / "out.jsonl").read_bytes()
    assert await run(settings(tmp_path, fake, resume_from_cache=True)) == 0
    assert len(fake.requests) == 2
    assert (tmp_path / "out.jsonl").read_bytes() == before


async def test_an_address_that_is_not_there_is_told(tmp_path: Path, fake: FakeVllm) -> None:
    await fake.stop()
    (said,) = await faults(settings(tmp_path, fake))
    assert said.startswith(f"{fake.url} took no connection: ")
    assert said.endswith(" @ url")


async def test_failed_rollouts_are_made_again(tmp_path: Path, fake: FakeVllm) -> None:
    fake.script(FAILED, FAILED, GOOD, GOOD, path=RESPONSES)
    assert await run(settings(tmp_path, fake)) == 1
    assert await run(settings(tmp_path, fake, retry_failed=True)) == 0
    assert len(read(tmp_path / "out.jsonl")) == 2


async def test_failed_rollouts_stay_until_they_can_be_made_again(
    tmp_path: Path, fake: FakeVllm
) -> None:
    fake.script(FAILED, FAILED, path=RESPONSES)
    await run(settings(tmp_path, fake))
    before = files(tmp_path)
    await fake.stop()
    await faults(settings(tmp_path, fake, retry_failed=True))
    assert files(tmp_path) == before


async def test_failed_rollouts_that_this_run_does_not_make_stay(
    tmp_path: Path, fake: FakeVllm, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.script(FAILED, FAILED, FAILED, GOOD, path=RESPONSES)
    await run(settings(tmp_path, fake, rows=3, num_samples_in_parallel=1))
    assert await run(settings(tmp_path, fake, rows=3, limit=1, retry_failed=True)) == 1
    lines = read(tmp_path / "out.jsonl")
    assert sorted(line["_gateway"]["end"] for line in lines) == ["failed", "failed", "message"]
    assert capsys.readouterr().err.splitlines()[-1].startswith("3 of 3 rollouts, ")


async def test_an_address_without_models_is_told_before_all_rows_fail(
    tmp_path: Path, fake: FakeVllm
) -> None:
    fake.pages["/v1/models"] = Status(404)
    assert await faults(settings(tmp_path, fake)) == ["404 Not Found @ url"]
    fake.script(GOOD, GOOD, path=RESPONSES)
    assert await run(settings(tmp_path, fake, model="m")) == 0


async def test_the_folder_of_the_output_is_made(tmp_path: Path, fake: FakeVllm) -> None:
    fake.script(GOOD, path=RESPONSES)
    path, output = write(tmp_path / "in.jsonl", row()), tmp_path / "results" / "first" / "out.jsonl"
    assert await run(Settings(str(path), str(output), url=Url(fake.url))) == 0
    assert len(read(output)) == 1


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, fake: FakeVllm) -> None:
    path = write(tmp_path / "in.jsonl", row())
    given = Settings(str(path), str(path / "out.jsonl"), url=Url(fake.url))
    said = f"{path}/out.jsonl cannot be written: Not a directory @ output_jsonl_fpath"
    assert await faults(given) == [said]


async def test_the_input_cannot_be_the_output(tmp_path: Path, fake: FakeVllm) -> None:
    path = tmp_path / "in.jsonl"
    given = Settings(str(path), str(path), url=Url(fake.url), resume_from_cache=True)
    path.write_text(json.dumps(row()))
    assert await faults(given) == [f"{path} is the input @ output_jsonl_fpath"]
    assert path.read_text() == json.dumps(row())


async def test_a_tool_server_that_is_not_there_is_told(
    tmp_path: Path, fake: FakeVllm, tools: ToolServer
) -> None:
    await tools.stop()
    (said,) = await faults(settings(tmp_path, fake, tools={"": tools.url, "a": tools.url}))
    assert said.startswith(f"{tools.url} took no connection: ")
    assert said.endswith(" @ tools")


async def test_a_start_that_failed_does_not_keep_from_the_next(
    tmp_path: Path, fake: FakeVllm
) -> None:
    await fake.stop()
    await faults(settings(tmp_path, fake))
    await fake.start()
    fake.script(GOOD, GOOD, path=RESPONSES)
    assert await run(settings(tmp_path, fake)) == 0


async def test_two_runs_cannot_have_one_output(tmp_path: Path, fake: FakeVllm) -> None:
    hang = Hang(then=GOOD)
    fake.script(hang, hang, path=RESPONSES)
    first = asyncio.create_task(run(settings(tmp_path, fake)))
    await fake.received()
    said = f"{tmp_path}/out.jsonl is being written by another run @ output_jsonl_fpath"
    assert await faults(settings(tmp_path, fake, resume_from_cache=True)) == [said]
    hang.event.set()
    assert await first == 0
    assert len(read(tmp_path / "out.jsonl")) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_with_what_is_finished(
    tmp_path: Path,
    fake: FakeVllm,
    number: signal.Signals,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake.script(GOOD, Hang(), path=RESPONSES)
    running = asyncio.create_task(run(settings(tmp_path, fake, 5, num_samples_in_parallel=1)))
    await fake.received(2)
    os.kill(os.getpid(), number)
    assert await running == 128 + number
    assert len(read(tmp_path / "out.jsonl")) == 1
    told = f"{number.name}: 4 rollouts are missing, --resume goes on"
    assert told in capsys.readouterr().out
    fake.script(*[GOOD] * 4, path=RESPONSES)
    assert await run(settings(tmp_path, fake, 5, resume_from_cache=True)) == 0
    keys = [line["_ng_task_index"] for line in read(tmp_path / "out.jsonl")]
    assert sorted(keys) == [0, 1, 2, 3, 4]


async def test_a_wrong_key_is_told(tmp_path: Path, fake: FakeVllm) -> None:
    fake.api_key = "sk-secret"
    assert await faults(settings(tmp_path, fake)) == ["401 Unauthorized @ url"]


async def test_an_output_that_no_run_has_written_is_refused(tmp_path: Path, fake: FakeVllm) -> None:
    (tmp_path / "out.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError) as raised:
        await run(settings(tmp_path, fake, resume_from_cache=True))
    terms = tmp_path / "out.run.json"
    said = f"it cannot be gone on with: {terms}, which says how it was made, cannot be read"
    assert raised.value.faults == [f"{said} @ output_jsonl_fpath"]


async def test_what_is_appended_to_the_input_meanwhile_is_for_the_next_run(
    tmp_path: Path, fake: FakeVllm
) -> None:
    hang = Hang(then=GOOD)
    fake.script(hang, GOOD, path=RESPONSES)
    given = settings(tmp_path, fake, rows=1, num_samples_in_parallel=1)
    running = asyncio.create_task(run(given))
    await fake.received()
    with (tmp_path / "in.jsonl").open("a") as file:
        file.write('{"responses_create_params": {"inp')
    hang.event.set()
    assert await running == 0
    assert len(read(tmp_path / "out.jsonl")) == 1


async def test_the_last_line_of_the_progress_tells_what_is_there(
    tmp_path: Path, fake: FakeVllm, capfd: pytest.CaptureFixture[str]
) -> None:
    fake.script(GOOD, GOOD, path=RESPONSES)
    await run(settings(tmp_path, fake))
    assert capfd.readouterr().err.splitlines()[-1].startswith("2 of 2 rollouts, 2 turns, ")


async def test_a_key_that_the_address_repeats_is_not_told(
    tmp_path: Path, fake: FakeVllm, capfd: pytest.CaptureFixture[str]
) -> None:
    repeated = Status(400, {"error": {"message": "no: Bearer sk-secret"}})
    fake.script(repeated, path=RESPONSES)
    await run(settings(tmp_path, fake, rows=1, api_key="sk-secret"))
    said = capfd.readouterr()
    assert "model: no: Bearer ***" in said.out
    assert "sk-secret" not in said.out + said.err
    assert not any(b"sk-secret" in content for content in files(tmp_path).values())
