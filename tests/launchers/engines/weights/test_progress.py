"""What people see while weights come."""

import io
import os
import re
import termios

import pytest

from launchers.engines.weights.progress import Display, Progress

END = "\0"
HALF = Progress("org/plain", 8_000_000_000, 16_000_000_000, "10.0.0.1")


def drawn(*steps: Progress) -> str:
    """What a terminal gets."""
    reader, writer = os.openpty()
    termios.tcsetwinsize(writer, (24, 100))
    with os.fdopen(reader, "rb") as screen, os.fdopen(writer, "w") as stream:
        with Display(stream) as display:
            for step in steps:
                display(step)
        stream.write(END)
        stream.flush()
        return b"".join(iter(lambda: screen.read(1), END.encode())).decode()


def lines(*steps: tuple[float, Progress]) -> list[str]:
    """What is written when these come at these seconds."""
    stream, times = io.StringIO(), iter([at for at, _ in steps])
    with Display(stream, clock=lambda: next(times)) as display:
        for _, step in steps:
            display(step)
    return stream.getvalue().splitlines()


def at(done: int) -> Progress:
    return Progress("org/plain", done, 16_000_000_000, "10.0.0.1")


def test_a_terminal_gets_a_bar_with_bytes_and_rate_and_time_left() -> None:
    shown = re.split(r"[\r\n]+", drawn(at(0), HALF))
    bar = r"org/plain on 10\.0\.0\.1:  50%\|.*\| 8\.00G/16\.0G \[00:00<00:00, .*B/s\]"
    assert any(re.fullmatch(bar, line) for line in shown)


def test_several_downloads_get_a_bar_each() -> None:
    shown = drawn(HALF, Progress("org/other", 1, 4))
    found = {bar for bar in ("org/plain on 10.0.0.1:  50%|", "org/other:  25%|") if bar in shown}
    assert len(found) == 2


def test_what_was_there_before_counts_as_done() -> None:
    assert "100%|" in drawn(Progress("org/plain", 4, 4, finished=True))


def test_a_folder_gets_no_bar() -> None:
    assert drawn(Progress("/models/plain", 0, 0, finished=True)) == ""


def test_a_notice_stands_above_the_bars() -> None:
    shown = drawn(Progress("s3://plain", 0, 0, finished=True, notice="left to vLLM"))
    assert shown.strip() == "s3://plain: left to vLLM"


def test_elsewhere_a_line_is_written_at_the_start() -> None:
    assert lines((0, at(0))) == ["org/plain on 10.0.0.1: 0.00B of 16.0GB (0%), ?B/s, ? left"]


def test_the_next_line_comes_after_ten_seconds() -> None:
    found = lines((0, at(0)), (5, at(1_000_000_000)), (9.9, at(2_000_000_000)), (10, HALF))
    line = "org/plain on 10.0.0.1: 8.00GB of 16.0GB (50%), 800MB/s, 00:10 left"
    assert found[1:] == [line]


def test_the_rate_is_that_of_the_time_since_the_last_line() -> None:
    found = lines((0, at(0)), (10, at(8_000_000_000)), (20, at(9_000_000_000)))
    assert found[2] == "org/plain on 10.0.0.1: 9.00GB of 16.0GB (56%), 100MB/s, 01:10 left"


def test_a_download_that_stands_still_has_no_rate() -> None:
    found = lines((0, HALF), (10, HALF))
    assert found[1] == "org/plain on 10.0.0.1: 8.00GB of 16.0GB (50%), ?B/s, ? left"


@pytest.mark.parametrize(
    ("total", "notice", "line"),
    [
        (16_000_000_000, None, "org/plain: here, 16.0GB"),
        (0, None, "org/plain: here"),
        (0, "left to vLLM", "org/plain: here, left to vLLM"),
    ],
)
def test_the_end_is_always_told(total: int, notice: str | None, line: str) -> None:
    end = Progress("org/plain", total, total, finished=True, notice=notice)
    assert lines((0, end)) == [line]
