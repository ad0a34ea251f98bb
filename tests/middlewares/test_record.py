"""Calls written down whole."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from gateway.core import Json, Session
from gateway.errors import BadRequest, UpstreamError
from middlewares.record import Record
from tests import recorded
from tests.calls import USER, Replica, call, chunk, collect, texts
from tests.fake_vllm import FakeVllm, Gate, events
from tests.serving import CHAT, HELLO, serving


def lines(directory: Path) -> list[Json]:
    """All lines of all files."""
    files = sorted(directory.iterdir())
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def names(directory: Path) -> list[str]:
    return sorted(file.name for file in directory.iterdir())


async def test_a_call_is_one_line_with_its_request_and_reply(tmp_path: Path) -> None:
    await collect(Record(str(tmp_path)), call(temperature=0.5), Replica(texts("Hel", "lo")))
    [line] = lines(tmp_path)
    assert line["request"] == {"messages": [USER], "temperature": 0.5}
    assert line["reply"]["choices"][0]["message"]["content"] == "Hello"
    assert (line["at"], line["error"]) == ("client", None)


async def test_the_line_says_whose_call_it_was_and_where_it_went(tmp_path: Path) -> None:
    await collect(Record(str(tmp_path)), call(), Replica(texts("Hi")))
    [line] = lines(tmp_path)
    named = (line["id"], line["session"], line["model"], line["replica"])
    assert named == ("call-1", "session-1", "policy", "replica-1")
    assert line["seconds"] >= 0


async def test_at_the_replica_the_request_is_what_was_sent(tmp_path: Path) -> None:
    async def handler(a_call: Any) -> Any:
        reply = await Replica(texts("Hi"))(a_call)
        return evolve(reply, sent={"model": "engine", **a_call.body})

    reply = await Record(str(tmp_path), at="replica")(call(), handler)
    _ = [item async for item in reply.chunks]
    [line] = lines(tmp_path)
    assert (line["at"], line["request"]["model"]) == ("replica", "engine")


async def test_an_error_before_the_reply_is_a_line(tmp_path: Path) -> None:
    with pytest.raises(BadRequest):
        await collect(Record(str(tmp_path)), call(), Replica(error=BadRequest("no")))
    [line] = lines(tmp_path)
    assert (line["reply"], line["error"]) == (None, "BadRequest('no')")


async def test_a_reply_that_breaks_off_is_written_with_what_there_was(tmp_path: Path) -> None:
    async def broken(a_call: Any) -> Any:
        async def breaking(chunks: Any) -> Any:
            async for item in chunks:
                yield item
            raise UpstreamError("gone")

        return (await Replica([chunk({"content": "He"})])(a_call)).through(breaking)

    reply = await Record(str(tmp_path))(call(), broken)
    with pytest.raises(UpstreamError):
        _ = [item async for item in reply.chunks]
    [line] = lines(tmp_path)
    assert line["reply"]["choices"][0]["message"] == {"content": "He"}
    assert line["error"] == "UpstreamError('gone')"


async def test_a_client_that_leaves_is_a_line_and_only_one(tmp_path: Path) -> None:
    reply = await Record(str(tmp_path))(call(), Replica(texts("Hel", "lo")))
    await anext(reply.chunks)
    await reply.aclose()
    await reply.aclose()
    [line] = lines(tmp_path)
    assert line["error"] == "GeneratorExit()"


async def test_a_reply_that_nobody_read_is_no_line(tmp_path: Path) -> None:
    reply = await Record(str(tmp_path))(call(), Replica(texts("Hi")))
    await reply.aclose()
    assert names(tmp_path) == []


async def test_calls_of_a_session_are_appended_to_one_file(tmp_path: Path) -> None:
    rule = Record(str(tmp_path))
    for text in ("1", "2"):
        await collect(rule, call(), Replica(texts(text)))
    assert names(tmp_path) == ["session-1.jsonl"]
    contents = [line["reply"]["choices"][0]["message"]["content"] for line in lines(tmp_path)]
    assert contents == ["1", "2"]


async def test_lines_of_calls_at_once_do_not_mix(tmp_path: Path) -> None:
    rule, long = Record(str(tmp_path)), "x" * 100_000
    await asyncio.gather(*(collect(rule, call(), Replica(texts(long))) for _ in range(8)))
    assert len(lines(tmp_path)) == 8


@pytest.mark.parametrize(
    "id", ["../../etc/passwd", "..", ".", "/etc/passwd", "a/b", "a\x00b", "%2F"]
)
async def test_no_session_id_leads_out_of_the_directory(tmp_path: Path, id: str) -> None:
    directory = tmp_path / "inner"
    a_call = evolve(call(), session=Session(id))
    await collect(Record(str(directory)), a_call, Replica(texts("Hi")))
    assert names(tmp_path) == ["inner"]
    [line] = lines(directory)
    assert line["session"] == id


async def test_long_session_ids_have_files_of_their_own(tmp_path: Path) -> None:
    rule = Record(str(tmp_path))
    for end in ("a", "b"):
        a_call = evolve(call(), session=Session("/" * 255 + end))
        await collect(rule, a_call, Replica(texts("Hi")))
    assert len(names(tmp_path)) == 2


async def test_the_directory_is_made(tmp_path: Path) -> None:
    await collect(Record(str(tmp_path / "a" / "b")), call(), Replica(texts("Hi")))
    assert len(lines(tmp_path / "a" / "b")) == 1


async def test_a_disk_that_fails_is_logged_once_and_breaks_no_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    rule = Record(str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert await collect(rule, call(), Replica(texts("Hi"))) == texts("Hi")
    [warning] = caplog.messages
    assert warning.startswith(f"calls are not recorded in {tmp_path / 'file'}: ")


async def test_a_disk_that_fails_does_not_hide_the_engines_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UpstreamError, match="no"):
        await collect(Record(str(tmp_path / "file")), call(), Replica(error=UpstreamError("no")))


async def test_a_full_disk_is_not_taken_for_a_written_line(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "session-1.jsonl").symlink_to("/dev/full")
    assert await collect(Record(str(tmp_path)), call(), Replica(texts("Hi"))) == texts("Hi")
    assert "No space left on device" in caplog.text


async def test_keys_are_not_written(tmp_path: Path) -> None:
    a_call = evolve(call(), headers={"Authorization": "Bearer sk-secret"})
    await collect(Record(str(tmp_path)), a_call, Replica(texts("Hi")))
    assert "sk-secret" not in (tmp_path / "session-1.jsonl").read_text()


async def test_token_arrays_are_written_whole(tmp_path: Path) -> None:
    chunks = recorded.chunks("chat-logprobs-token-ids-stream")
    await collect(Record(str(tmp_path)), call(), Replica(chunks))
    assert lines(tmp_path)[0]["reply"] == recorded.reply("chat-logprobs-token-ids-stream")


@pytest.mark.parametrize("stream", [False, True])
async def test_both_ends_of_a_call_are_written(
    fake: FakeVllm, tmp_path: Path, stream: bool
) -> None:
    pipeline = (
        {"record": {"directory": str(tmp_path)}},
        {"sampling_overrides": {"fields": {"top_k": 5}}},
        {"record": {"directory": str(tmp_path), "at": "replica"}},
    )
    async with serving(fake, middlewares=pipeline) as client:
        await client.post({**HELLO, "stream": stream})
    inner, outer = lines(tmp_path)
    assert (inner["at"], outer["at"]) == ("replica", "client")
    assert inner["request"] == fake.requests[-1].body
    assert outer["request"] == {**HELLO, "stream": stream}
    assert outer["reply"] == inner["reply"]


async def test_a_client_that_hangs_up_is_written(fake: FakeVllm, tmp_path: Path) -> None:
    first = recorded.events("chat-plain-stream")[0]
    fake.script(events(first, Gate(asyncio.Event())))
    pipeline = ({"record": {"directory": str(tmp_path)}},)
    async with serving(fake, middlewares=pipeline) as client:
        body = {**HELLO, "stream": True}
        async with client.http.post(client.url + CHAT, json=body) as response:
            await response.content.readline()
            response.close()
            await fake.client_left()
    assert len(lines(tmp_path)) == 1
