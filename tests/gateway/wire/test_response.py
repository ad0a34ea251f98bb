"""A reply as it arrives, fed by hand."""

import asyncio

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire.response import HELD, Response
from tests.gateway.wire.scripted import rest_of, turns


@define
class Fed:
    """A reply, and what it asked its connection for."""

    headers: list[tuple[bytes, bytes]] = field(factory=list)
    pauses: list[bool] = field(factory=list)
    left: int = 0
    response: Response = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.response = Response(200, self.headers, self._leave, self.pauses.append)

    def _leave(self) -> None:
        self.left += 1


def test_headers_are_found_in_any_case_and_each_is_kept() -> None:
    response = Fed([(b"Set-Cookie", b"a=1"), (b"set-cookie", b"b=2")]).response
    assert response.headers.getall("SET-COOKIE") == ["a=1", "b=2"]


def test_values_that_are_no_ascii_are_text_and_can_be_sent_on() -> None:
    response = Fed([(b"X-A", "ä".encode()), (b"X-B", b"\xff")]).response
    assert response.headers["X-A"] == "ä"
    assert response.headers["X-B"].encode("utf-8", "surrogateescape") == b"\xff"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"content-TYPE", b" Text/Event-Stream ; charset=utf-8")], "text/event-stream"),
        ([(b"Content-Typo", b"text/plain")], ""),
        ([], ""),
    ],
)
def test_the_media_type_is_without_parameters(
    headers: list[tuple[bytes, bytes]], expected: str
) -> None:
    assert Fed(headers).response.content_type == expected


async def test_what_arrived_together_is_read_together() -> None:
    response = Fed().response
    response.feed(b"a")
    response.feed(b"b")
    assert await response.part() == b"ab"
    response.feed(b"c")
    response.finish()
    assert await rest_of(response) == [b"c"]


@given(st.lists(st.tuples(st.binary(min_size=1), st.booleans())))
async def test_all_bytes_are_read_in_their_order(pieces: list[tuple[bytes, bool]]) -> None:
    response = Fed().response
    reading = asyncio.create_task(rest_of(response))
    for piece, with_a_break in pieces:
        response.feed(piece)
        if with_a_break:
            await asyncio.sleep(0)
    response.finish()
    whole = b"".join(piece for piece, _ in pieces)
    assert (b"".join(await reading), response.received) == (whole, len(whole))


async def test_the_other_end_waits_while_too_much_is_unread() -> None:
    fed = Fed()
    fed.response.feed(bytes(HELD))
    assert fed.pauses == []
    fed.response.feed(b"x")
    fed.response.feed(b"y")
    assert fed.pauses == [True]
    await fed.response.part()
    assert fed.pauses == [True, False]


async def test_who_reads_it_whole_is_never_kept_waiting() -> None:
    fed = Fed()
    fed.response.feed(bytes(HELD + 1))
    reading = asyncio.create_task(fed.response.read())
    await turns()
    assert fed.pauses == [True, False]
    fed.response.feed(bytes(HELD + 1))
    fed.response.finish()
    assert len(await reading) == 2 * HELD + 2
    assert fed.pauses == [True, False]


def test_a_whole_reply_does_not_hold_back_its_connection() -> None:
    fed = Fed()
    fed.response.feed(bytes(HELD + 1))
    fed.response.finish()
    assert fed.pauses == [True, False]


async def test_what_came_before_a_break_is_read_before_it() -> None:
    response = Fed().response
    response.feed(b"a")
    response.break_off(OSError("gone"))
    assert await response.part() == b"a"
    with pytest.raises(OSError, match="gone"):
        await response.part()


async def test_a_break_is_raised_where_all_of_it_is_read() -> None:
    response = Fed().response
    response.feed(b"a")
    response.break_off(OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        await response.read()


async def test_a_break_after_the_end_is_none() -> None:
    response = Fed().response
    response.feed(b"a")
    response.finish()
    response.break_off(OSError("gone"))
    assert await response.read() == b"a"


async def test_a_failure_is_raised_instead_of_what_is_left() -> None:
    fed = Fed()
    fed.response.feed(b"a")
    reading = asyncio.create_task(rest_of(fed.response))
    fed.response.fail(OSError("no more"))
    with pytest.raises(OSError, match="no more"):
        await reading
    assert fed.left == 1


async def test_a_failure_of_a_whole_reply_leaves_its_connection_alone() -> None:
    fed = Fed()
    fed.response.feed(b"a")
    fed.response.finish()
    fed.response.fail(OSError("no more"))
    with pytest.raises(OSError, match="no more"):
        await fed.response.read()
    assert fed.left == 0


async def test_the_first_error_counts() -> None:
    response = Fed().response
    response.fail(OSError("first"))
    response.break_off(OSError("second"))
    response.fail(OSError("third"))
    with pytest.raises(OSError, match="first"):
        await response.read()


def test_its_connection_is_left_once() -> None:
    fed = Fed()
    fed.response.close()
    fed.response.close()
    fed.response.fail(OSError("no more"))
    assert fed.left == 1


async def test_closing_wakes_who_reads() -> None:
    response = Fed().response
    reading = asyncio.create_task(response.read())
    await turns()
    response.close()
    with pytest.raises(ConnectionAbortedError, match="it was closed"):
        await reading


async def test_closing_a_whole_reply_changes_nothing() -> None:
    fed = Fed()
    fed.response.feed(b"a")
    fed.response.finish()
    fed.response.close()
    assert (await fed.response.read(), fed.left) == (b"a", 0)


async def test_a_cancelled_reader_may_read_again() -> None:
    response = Fed().response
    reading = asyncio.create_task(response.read())
    await turns()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    response.feed(b"a")
    response.finish()
    assert await response.read() == b"a"
