"""What people see while a run goes on."""

import io
import os
import re
import termios
from collections.abc import Callable

from gateway.rollouts.report.progress import Progress, Speed
from gateway.rollouts.report.summary import Summary

END = "\0"


class Clock:
    """Shows the seconds that it is set to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def done(rollouts: int, failed: int = 0) -> Summary:
    summary = Summary()
    for number in range(rollouts):
        summary.add({"_gateway": {"end": "failed" if number < failed else "message"}})
    return summary


def on_a_terminal(run: Callable[[Progress, Clock], None], columns: int = 100) -> list[str]:
    """The states of the line that a terminal shows, and the lines above it."""
    reader, writer = os.openpty()
    termios.tcsetwinsize(writer, (24, columns))
    clock = Clock()
    with os.fdopen(reader, "rb") as screen, os.fdopen(writer, "w") as stream:
        with Progress(stream, total=8, clock=clock) as progress:
            run(progress, clock)
        stream.write(END)
        stream.flush()
        shown = b"".join(iter(lambda: screen.read(1), END.encode())).decode()
    return [state for state in re.split(r"[\r\n]+", shown) if state.strip()]


def in_a_log(run: Callable[[Progress, Clock], None], initial: int = 0) -> list[str]:
    """The lines that are written elsewhere."""
    stream, clock = io.StringIO(), Clock()
    with Progress(stream, total=8, initial=initial, clock=clock) as progress:
        run(progress, clock)
    return stream.getvalue().splitlines()


def test_a_terminal_gets_a_bar() -> None:
    def run(progress: Progress, clock: Clock) -> None:
        clock.now = 2.0
        progress.answered(100)
        progress.update(done(4, failed=1), running=3)

    facts = r"1 failed, 1 turns, 50 tok/s, 3 running"
    pattern = rf" 50%\|█+▌? +\| 4/8 \[\d\d:\d\d<\d\d:\d\d, {facts}\]"
    assert re.fullmatch(pattern, on_a_terminal(run)[-1])


def test_a_bar_is_drawn_at_most_ten_times_a_second() -> None:
    def run(progress: Progress, clock: Clock) -> None:
        for hundredth in range(100):
            clock.now = hundredth / 100
            progress.answered(1)

    first_and_last = 3
    assert len(on_a_terminal(run)) <= 10 + first_and_last


def test_a_bar_ends_with_what_is_true_then() -> None:
    def run(progress: Progress, clock: Clock) -> None:
        progress.update(done(8), running=0)

    assert on_a_terminal(run)[-1].startswith("100%|")


def test_a_notice_stands_above_the_bar() -> None:
    def run(progress: Progress, clock: Clock) -> None:
        progress.write("the address is away")

    shown = on_a_terminal(run)
    assert ("the address is away" in shown, "0/8 [00:" in shown[-1]) == (True, True)


def test_a_narrow_terminal_keeps_the_bar_on_one_line() -> None:
    def run(progress: Progress, clock: Clock) -> None:
        progress.update(done(4), running=3)

    assert max(map(len, on_a_terminal(run, columns=40))) <= 40


def test_a_log_gets_a_line_at_the_end() -> None:
    def run(progress: Progress, clock: Clock) -> None:
        clock.now = 4.0
        progress.answered(8000)
        progress.update(done(8), running=0)

    line = "8 of 8 rollouts, 1 turns, 2.00k tok/s, 0 running, 00:04 passed, 00:00 left"
    assert in_a_log(run) == [line]


def test_a_log_gets_a_line_every_ten_seconds() -> None:
    def run(progress: Progress, clock: Clock) -> None:
        for second in range(25):
            clock.now = second
            progress.update(done(second // 10), running=4)

    assert [line[:17] for line in in_a_log(run)] == [
        "1 of 8 rollouts, ",
        "2 of 8 rollouts, ",
        "2 of 8 rollouts, ",
    ]


def test_a_run_that_goes_on_counts_only_its_own_rollouts_for_the_time_left() -> None:
    def run(progress: Progress, clock: Clock) -> None:
        clock.now = 10.0
        progress.update(done(6), running=2)

    line = "6 of 8 rollouts, 0 turns, 0 tok/s, 2 running, 00:10 passed, 00:10 left"
    assert in_a_log(run, initial=4)[0] == line


def test_a_run_that_goes_on_begins_with_what_was_there() -> None:
    assert in_a_log(lambda progress, clock: None, initial=4)[0].startswith("4 of 8 rollouts")


def test_the_time_left_is_unknown_before_the_first_rollout() -> None:
    def run(progress: Progress, clock: Clock) -> None:
        clock.now = 5.0
        progress.answered(1)

    assert in_a_log(run)[0].endswith("00:05 passed, ? left")


def test_a_notice_is_a_line_of_the_log() -> None:
    assert in_a_log(lambda progress, clock: progress.write("it is back"))[0] == "it is back"


def test_a_log_that_is_gone_does_not_end_the_run() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=1) as stream:
        with Progress(stream, total=8) as progress:
            progress.write("nobody reads this")
        with open(os.devnull, "w") as devnull:  # what is buffered has to go somewhere
            os.dup2(devnull.fileno(), writer)


def test_the_speed_is_that_of_the_last_ten_seconds() -> None:
    speed = Speed(started=0.0)
    totals = {5.0: 1000, 10.0: 1000, 15.0: 1050, 20.0: 1100}
    assert [speed(now, total) for now, total in totals.items()] == [200, 100, 5, 10]


def test_at_the_start_there_is_no_speed() -> None:
    assert Speed(started=3.0)(3.0, 100) == 0


def test_the_speed_needs_no_more_memory_with_time() -> None:
    speed = Speed(started=0.0)
    for tenth in range(10_000):
        speed(tenth / 10, tenth)
    assert len(speed._seen) <= 102
