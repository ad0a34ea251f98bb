"""Server-sent events: however the bytes are cut, the events are the same."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import codec
from gateway.codec import Verbatim
from gateway.errors import UpstreamUnreachable
from gateway.sse import DONE, KEEP_ALIVE, Event, parse, whole
from tests import recorded
from tests.strategies import PLACES, cut_at


async def events(*parts: bytes) -> list[bytes]:
    async def given_parts() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    return [event async for event in parse(given_parts())]


LINES = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20
).map(str.encode)
ENDS = st.sampled_from([b"\n", b"\r\n"])


@given(st.binary(max_size=200), PLACES)
async def test_any_bytes_cut_anywhere_give_the_same_events(raw: bytes, places: list[int]) -> None:
    assert await events(*cut_at(places, raw)) == await events(raw)


@given(st.lists(st.lists(LINES, min_size=1, max_size=3), max_size=5), ENDS, PLACES)
async def test_what_was_sent_is_what_arrives(
    sent: list[list[bytes]], end: bytes, places: list[int]
) -> None:
    blocks = [b"".join(b"data: " + line + end for line in lines) + end for lines in sent]
    assert await events(*cut_at(places, b"".join(blocks))) == [b"\n".join(lines) for lines in sent]


async def test_lines_may_end_with_crlf_cut_in_two() -> None:
    assert await events(b"data: a\r", b"\n\r", b"\ndata: b\r\n\r\n") == [b"a", b"b"]


async def test_the_cr_of_one_line_of_an_event_is_no_data() -> None:
    assert await events(b"data: a\r\n\n") == [b"a"]


async def test_comments_names_and_ids_are_skipped() -> None:
    raw = b": keep-alive\n\nevent: message\nid: 7\nretry: 10\ndata: a\n\n"
    assert await events(raw) == [b"a"]


async def test_an_event_without_data_is_none() -> None:
    assert await events(b"event: ping\n\n") == []


async def test_the_data_lines_of_an_event_are_joined() -> None:
    assert await events(b"data: a\ndata: b\n\n") == [b"a\nb"]


async def test_only_one_space_after_the_colon_is_left_out() -> None:
    assert await events(b"data:a\n\ndata:  b\n\n") == [b"a", b" b"]


async def test_an_event_that_the_end_cuts_off_is_dropped() -> None:
    assert await events(b"data: a\n\ndata: b\n") == [b"a"]


async def test_a_line_may_be_of_two_megabytes() -> None:
    line = b"x" * 2**21
    raw = b"data: " + line + b"\n\n"
    assert await events(*(raw[i : i + 65536] for i in range(0, len(raw), 65536))) == [line]


@pytest.mark.parametrize("name", [n for n in recorded.names() if recorded.streamed(n)])
async def test_recorded_streams_are_read(name: str) -> None:
    sent = recorded.load(name)["response"]["sse"]
    got = await events("".join(f"{event}\n\n" for event in sent).encode())
    assert [codec.decode(data) for data in got if data != b"[DONE]"] == recorded.events(name)


def test_an_event_without_a_name_is_a_data_line() -> None:
    assert Event({"a": "ü\n"}).encode() == b'data: {"a":"\xc3\xbc\\n"}\n\n'


def test_an_event_with_a_name_says_it_first() -> None:
    assert Event({}, "response.created").encode() == b"event: response.created\ndata: {}\n\n"


async def test_the_end_mark_is_read_as_it_is_written() -> None:
    assert await events(DONE.encode()) == [b"[DONE]"]


async def test_a_keep_alive_is_no_event() -> None:
    assert await events(KEEP_ALIVE) == []


@given(st.lists(st.sampled_from([b"data: x\n\n", b"data: y\r\n\r\n", b": c\n\n"])), PLACES)
async def test_whole_cuts_between_events_only(items: list[bytes], places: list[int]) -> None:
    async def given_parts() -> AsyncIterator[bytes]:
        for part in cut_at(places, raw):
            yield part

    raw = b"".join(items)
    got = [part async for part in whole(given_parts())]
    assert b"".join(got) == raw
    assert all(part.endswith((b"\n\n", b"\n\r\n")) for part in got)


async def test_whole_does_not_pass_on_what_broke_off_in_an_event() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"data: 1\n\ndata: {"
        raise UpstreamUnreachable("gone")

    passed = whole(broken())
    assert await anext(passed) == b"data: 1\n\n"
    with pytest.raises(UpstreamUnreachable):
        await anext(passed)


def test_what_was_received_is_passed_on_as_it_came() -> None:
    received = Verbatim({"a": 1})
    received.raw = b'{"a":  1}'
    assert Event(received).passed_on() == b'data: {"a":  1}\n\n'
    assert Event({**received}).passed_on() == b'data: {"a":1}\n\n'
    assert DONE.passed_on() == DONE.encode()
