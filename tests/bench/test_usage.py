"""What processes take."""

import os
import subprocess
import sys

from tests.bench.usage import MIB, Tree, cpu, descriptors, observing, rss

BUSY = "print(flush=True)\nwhile True: pass"
LARGE = "kept = b'x' * 50_000_000\nprint(flush=True)\ninput()"


def child(code: str) -> subprocess.Popen[bytes]:
    """A Python that has printed its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_tree_is_a_process_and_all_below_it() -> None:
    with child(LARGE) as below:
        tree = Tree.of(os.getpid())
        assert {os.getpid(), below.pid} <= set(tree.pids)
        assert tree.rss() >= rss(os.getpid()) + 50_000_000
        below.communicate()


def test_what_is_gone_takes_nothing() -> None:
    with child(LARGE) as process:
        tree = Tree.of(process.pid)
        process.communicate()
    assert (tree.rss(), tree.cpu()) == (0, 0)


async def test_the_cpu_time_of_an_observation_is_that_inside_of_it() -> None:
    with child(BUSY) as busy:
        async with observing(busy.pid) as seen:
            before = cpu(busy.pid)
            while cpu(busy.pid) < before + 0.2:
                pass
        busy.kill()
    assert 0.2 <= seen.cpu <= seen.seconds + 0.02


async def test_the_peak_is_the_most_memory_that_was_seen() -> None:
    with child(LARGE) as process:
        async with observing(process.pid) as seen:
            pass
        process.communicate()
    assert 47 * MIB < seen.peak < 200 * MIB


def test_an_open_file_is_a_descriptor() -> None:
    before = descriptors(os.getpid())
    with open(os.devnull):
        assert descriptors(os.getpid()) == before + 1
