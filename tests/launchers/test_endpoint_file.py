"""A file that lists the URLs of replicas."""

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from gateway.endpoint_list import Endpoint
from launchers.endpoint_file import Endpoints, Listing, watch

ONE, TWO = "http://one:8000", "http://two:8000"
FIRST, SECOND = Endpoint(ONE), Endpoint(TWO)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "endpoints"


def listing(grace: float = 10) -> Listing:
    return Listing(Path("endpoints"), grace)


@pytest.mark.parametrize("line", [ONE, f"{ONE}/", f"{ONE}/v1", f"  {ONE}/v1/ "])
def test_a_url_counts_with_or_without_its_ending(line: str) -> None:
    assert listing().look(line, 0) == (FIRST,)


def test_blank_lines_and_comments_do_not_count() -> None:
    assert listing().look(f"# replicas\n\n{ONE} # first\n  # {TWO}\n", 0) == (FIRST,)


@pytest.mark.parametrize(
    "line",
    [
        "one:8000",
        "ftp://one",
        "http://",
        "http://one/?a=b",
        "http://one:port",
        "http://one..two",
        f"http://{'a' * 64}",
        "http://[",
    ],
)
def test_a_bad_line_is_skipped_with_a_warning(line: str, caplog: pytest.LogCaptureFixture) -> None:
    assert listing().look(f"{ONE}\n{line}", 0) == (FIRST,)
    assert caplog.messages == ["endpoints, line 2: not the http(s) URL of a server"]


def test_a_url_with_a_user_is_skipped_beside_a_key(caplog: pytest.LogCaptureFixture) -> None:
    text = f"{ONE}\nhttp://me:secret@two"
    assert Listing(Path("endpoints"), 10, users=False).look(text, 0) == (FIRST,)
    assert caplog.messages == [
        "endpoints, line 2: a user in the URL, and an api_key: only one of them can be sent"
    ]
    assert listing().look(text, 0) == (FIRST, Endpoint("http://me:secret@two"))


def test_a_line_with_other_words_is_skipped_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert listing().look(f"{ONE}\n{TWO} nmae=two", 0) == (FIRST,)
    assert caplog.messages == [
        "endpoints, line 2: after the URL there may be model=, name= and key="
    ]


def test_a_url_with_a_user_and_a_key_of_its_own_is_skipped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert listing().look("http://me:secret@two key=k", 0) == ()
    assert "only one of them can be sent" in caplog.text
    assert "secret" not in caplog.text


def test_a_bad_line_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    looking = listing()
    for now in range(3):
        looking.look(f"{ONE}\nnonsense", now)
    assert len(caplog.messages) == 1


def test_the_last_known_urls_stay_for_the_grace_time() -> None:
    looking = listing(grace=10)
    seen = [looking.look(text, now) for text, now in ((ONE, 0), ("", 5), ("", 14.9), ("", 15))]
    assert seen == [(FIRST,), (FIRST,), (FIRST,), ()]


def test_urls_that_come_back_count_at_once() -> None:
    looking = listing(grace=10)
    for text, now in ((ONE, 0), ("", 1), ("", 20)):
        looking.look(text, now)
    assert looking.look(TWO, 21) == (SECOND,)


def test_coming_back_starts_the_grace_time_anew() -> None:
    looking = listing(grace=10)
    for text, now in ((ONE, 0), ("", 1), (ONE, 9), ("", 10)):
        looking.look(text, now)
    assert looking.look("", 19) == (FIRST,)


def test_there_is_one_warning_at_each_transition(caplog: pytest.LogCaptureFixture) -> None:
    looking = listing(grace=10)
    for text, now in ((ONE, 0), ("", 1), ("", 2), ("", 11), ("", 12), (ONE, 13), (ONE, 14)):
        looking.look(text, now)
    assert caplog.messages == [
        "endpoints is missing or lists no replica; the last known ones (1) stay for 10 s",
        "endpoints has listed no replica for 10 s",
        "endpoints lists replicas again: 1",
    ]


def test_a_file_that_is_missing_from_the_start_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    looking = listing(grace=10)
    assert [looking.look("", now) for now in (0, 20)] == [(), ()]
    assert caplog.messages == ["endpoints is missing or lists no replica"]


def write(file: Path, text: str | bytes) -> None:
    """Put this in place of the file at once, with the same time of change as before."""
    new = file.with_suffix(".new")
    new.write_bytes(text if isinstance(text, bytes) else text.encode())
    os.utime(new, (0, 0))
    new.replace(file)


def watched(file: Path, grace: float = 0) -> aclosing[AsyncGenerator[Endpoints, None]]:
    return aclosing(watch(file, grace=grace, interval=0.001))


async def test_a_missing_file_gives_no_replicas(file: Path) -> None:
    async with watched(file) as changes:
        assert await anext(changes) == ()


async def test_a_file_that_appears_is_found(file: Path) -> None:
    async with watched(file) as changes:
        await anext(changes)
        write(file, ONE)
        assert await anext(changes) == (FIRST,)


async def test_a_file_that_disappears_gives_no_replicas_in_the_end(file: Path) -> None:
    write(file, ONE)
    async with watched(file) as changes:
        await anext(changes)
        os.unlink(file)
        assert await anext(changes) == ()


async def test_only_a_change_of_the_replicas_is_told(file: Path) -> None:
    write(file, ONE)
    async with watched(file) as changes:
        await anext(changes)
        write(file, f"# moved\n{ONE}\n")
        write(file, TWO)
        assert await anext(changes) == (SECOND,)


async def test_a_change_within_one_tick_of_the_clock_is_seen(file: Path) -> None:
    write(file, ONE)
    async with watched(file) as changes:
        await anext(changes)
        write(file, TWO)
        assert await anext(changes) == (SECOND,)


async def test_a_file_that_cannot_be_read_counts_as_missing(file: Path) -> None:
    os.mkdir(file)
    async with watched(file) as changes:
        assert await anext(changes) == ()


async def test_bytes_that_are_no_text_are_a_bad_line(file: Path) -> None:
    write(file, b"\xff\xfe\n" + ONE.encode())
    async with watched(file) as changes:
        assert await anext(changes) == (FIRST,)
