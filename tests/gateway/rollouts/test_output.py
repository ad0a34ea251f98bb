"""The file of finished rollouts: real files, real kills, a real limit of size."""

import asyncio
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.rollouts.output import BLOCK, Output
from tests.gateway_process import ROOT

LONG = BLOCK * 2
"""Longer than what is read at once."""


def opened(path: Path, *, resume: bool = True) -> Output:
    return Output.open(path, resume=resume)


async def contents(path: Path) -> list[bytes]:
    """The lines that a run which goes on with the file finds."""
    async with opened(path) as output:
        return [line for _, line in output.lines()]


def refused(path: Path, *, resume: bool = False) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        opened(path, resume=resume)
    return raised.value.faults


async def test_a_line_is_in_the_file_when_its_add_returns(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    async with opened(path, resume=False) as output:
        assert await output.add(b'{"a": 1}') == (0, 9)
        assert path.read_bytes() == b'{"a": 1}\n'
        assert await output.add(b"{}") == (9, 3)
    assert path.read_bytes() == b'{"a": 1}\n{}\n'


async def test_lines_that_are_added_at_once_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    lines = [b"%d" % i * (i % 200) for i in range(1, 1001)]
    async with opened(path) as output:
        places = await asyncio.gather(*(output.add(line) for line in lines))
        read = path.read_bytes()
    assert [read[start : start + size] for start, size in places] == [x + b"\n" for x in lines]
    assert len(read) == sum(size for _, size in places)


async def test_lines_say_where_they_start(tmp_path: Path) -> None:
    async with opened(tmp_path / "out.jsonl") as output:
        for line in (b"one", b"", b"three"):
            await output.add(line)
        assert list(output.lines()) == [(0, b"one"), (4, b""), (5, b"three")]


async def test_a_run_that_goes_on_appends(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"one\n")
    async with opened(path) as output:
        assert await output.add(b"two") == (4, 4)
    assert path.read_bytes() == b"one\ntwo\n"


async def test_lines_of_cancelled_adds_are_written(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    lines = [b"%d" % i for i in range(100)]
    async with opened(path) as output:
        adds = [asyncio.create_task(output.add(line)) for line in lines]
        await asyncio.sleep(0)  # each has handed its line over
        for add in adds[::2]:
            add.cancel()
        ends = await asyncio.gather(*adds, return_exceptions=True)
    assert {type(end) for end in ends[1::2]} == {tuple}
    assert path.read_bytes() == b"".join(line + b"\n" for line in lines)


async def test_leaving_writes_what_was_handed_over(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    async with opened(path) as output:
        add = asyncio.create_task(output.add(b"one"))
        await asyncio.sleep(0)
    assert path.read_bytes() == b"one\n"
    await add


@given(st.lists(st.integers(0, 20) | st.integers(BLOCK - 2, LONG), max_size=5), st.data())
async def test_of_a_file_cut_anywhere_the_whole_lines_are_left(
    sizes: list[int], data: st.DataObject
) -> None:
    whole = b"".join(b"%d" % (size % 10) * size + b"\n" for size in sizes)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.jsonl"
        path.write_bytes(cut)
        assert await contents(path) == cut.split(b"\n")[:-1]
        assert path.read_bytes() == cut[: cut.rfind(b"\n") + 1]


async def test_what_is_cut_off_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{}\n{"resp')
    with caplog.at_level(logging.WARNING):
        assert await contents(path) == [b"{}"]
        assert await contents(path) == [b"{}"]
    assert caplog.messages == [f"{path}: cut off 6 bytes that are no whole line"]


@pytest.mark.parametrize("held", [b"{}\n", b"{"])
def test_a_file_that_holds_something_is_not_overwritten(tmp_path: Path, held: bytes) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(held)
    fault = f"{path} holds rollouts, --resume goes on with it @ output_jsonl_fpath"
    assert refused(path) == [fault]
    assert path.read_bytes() == held


async def test_an_empty_file_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.touch()
    async with opened(path, resume=False) as output:
        assert await output.add(b"{}") == (0, 3)


@pytest.mark.parametrize(
    ("name", "why"), [("none/out.jsonl", "No such file or directory"), (".", "Is a directory")]
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, name: str, why: str) -> None:
    path = tmp_path / name
    assert refused(path) == [f"{path} cannot be written: {why} @ output_jsonl_fpath"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.touch(mode=0o444)
    fault = f"{path} cannot be written: Permission denied @ output_jsonl_fpath"
    assert refused(path) == [fault]


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    os.mkfifo(path)
    assert refused(path) == [f"{path} is no regular file @ output_jsonl_fpath"]


REFUSED = """
import sys
from pathlib import Path
from gateway.errors import ConfigError
from gateway.rollouts.output import Output
try:
    Output.open(Path("/dev/stdout"), resume=False)
except ConfigError as error:
    print(error, file=sys.stderr)
"""


@contextmanager
def script(code: str, *arguments: object, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A Python of its own, killed in the end."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": ROOT, **options}
    with subprocess.Popen(command, **given) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


def test_stdout_is_refused() -> None:
    with script(REFUSED) as process:
        _, said = process.communicate()
    assert said == b"/dev/stdout is no regular file @ output_jsonl_fpath\n"


def test_stdout_is_refused_where_it_is_a_file(tmp_path: Path) -> None:
    with (tmp_path / "out.jsonl").open("wb") as out, script(REFUSED, stdout=out) as process:
        _, said = process.communicate()
    assert said == b"/dev/stdout is where this command prints to @ output_jsonl_fpath\n"


async def test_two_runs_cannot_have_one_output(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    fault = f"{path} is being written by another run @ output_jsonl_fpath"
    async with opened(path) as output:
        assert refused(path, resume=True) == [fault]
        await output.rewrite([])
        assert refused(path, resume=True) == [fault]
    assert await contents(path) == []


async def test_a_link_is_followed(tmp_path: Path) -> None:
    link, path = tmp_path / "link.jsonl", tmp_path / "elsewhere" / "out.jsonl"
    path.parent.mkdir()
    link.symlink_to(path)
    async with opened(link) as output:
        assert output.path == path
        await output.rewrite([await output.add(b"two"), await output.add(b"one")][::-1])
    assert link.is_symlink()
    assert path.read_bytes() == b"one\ntwo\n"


async def test_the_file_is_made_anew_of_its_pieces(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    lines = [b"a", b"b" * LONG, b"c", b""]
    async with opened(path) as output:
        a, b, _, d = [await output.add(line) for line in lines]
        await output.rewrite(iter([d, b, a]))
        assert await output.add(b"more") == (LONG + 4, 5)
        assert [line for _, line in output.lines()] == [b"", b"b" * LONG, b"a", b"more"]
    assert os.listdir(tmp_path) == ["out.jsonl"]


async def test_the_new_file_may_be_read_by_whom_the_old_one_may(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.touch()
    path.chmod(0o640)
    async with opened(path) as output:
        await output.rewrite([])
    assert path.stat().st_mode & 0o777 == 0o640


async def test_a_rewrite_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"

    def pieces() -> Iterator[tuple[int, int]]:
        yield 4, 4
        raise OSError("the end")

    async with opened(path) as output:
        await output.add(b"one")
        await output.add(b"two")
        with pytest.raises(OSError, match="the end"):
            await output.rewrite(pieces())
        await output.add(b"three")
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    assert os.listdir(tmp_path) == ["out.jsonl"]


async def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes((b"x" * 9999 + b"\n") * 2000)
    tracemalloc.start()
    try:
        async with opened(path) as output:
            places = ((start, len(line) + 1) for start, line in output.lines())
            await output.rewrite(places)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert path.stat().st_size == 2000 * 10_000


LIMITED = """
import asyncio, json, resource, sys
from pathlib import Path
from gateway.rollouts.output import Output

async def main():
    async with Output.open(Path(sys.argv[1]), resume=False) as output:
        adds = [output.add(b"%099d" % i) for i in range(20)]
        ends = await asyncio.gather(*adds, return_exceptions=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
        ends += await asyncio.gather(output.add(b""), return_exceptions=True)
    print(json.dumps([end if type(end) is tuple else str(end) for end in ends]))

resource.setrlimit(resource.RLIMIT_FSIZE, (950, 10000))
asyncio.run(main())
"""


def test_a_full_disk_leaves_the_whole_lines_and_fails_all_others(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with script(LIMITED, path) as process:
        out, _ = process.communicate()
    fault = f"[Errno 27] File too large: '{path}'"
    assert json.loads(out) == [[start, 100] for start in range(0, 900, 100)] + [fault] * 12
    assert path.read_bytes() == b"".join(b"%099d\n" % i for i in range(9))


ADDING = """
import asyncio, os, sys
from pathlib import Path
from gateway.rollouts.output import Output

async def rollouts(output, numbers):
    for number in numbers:
        await output.add(b"%d " % number + b"x" * (number * 7919 % 30000))
        os.write(1, b"%d\\n" % number)

async def main(path, first):
    async with Output.open(path, resume=True) as output:
        numbers = iter(range(first, 1 << 60))
        await asyncio.gather(*(rollouts(output, numbers) for _ in range(8)))

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


def killed(code: str, path: Path, *arguments: object, after: int) -> list[bytes]:
    """What it said until it was killed, which is when it had said so many lines."""
    with script(code, path, *arguments) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(after)]
        process.kill()
        said += process.stdout.readlines()
    assert said[after - 1].endswith(b"\n")  # it was alive until then
    return [line for line in said if line.endswith(b"\n")]


async def test_kills_lose_no_line_whose_add_had_returned(tmp_path: Path) -> None:
    path, kept = tmp_path / "out.jsonl", set[int]()
    for turn in range(10):
        said = killed(ADDING, path, turn * 1_000_000, after=random.randint(1, 150))
        lines = [line.split(b" ") for line in await contents(path)]
        assert all(len(pad) == int(number) * 7919 % 30000 for number, pad in lines)
        numbers = [int(number) for number, _ in lines]
        assert len(set(numbers)) == len(numbers)
        kept |= set(map(int, said))
        assert kept <= set(numbers)


REWRITING = """
import asyncio, os, random, sys
from pathlib import Path
from gateway.rollouts.output import Output

async def main(path):
    async with Output.open(path, resume=True) as output:
        while True:
            pieces = [(start, len(line) + 1) for start, line in output.lines()]
            random.shuffle(pieces)
            await output.rewrite(pieces)
            os.write(1, b"\\n")

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_kills_in_a_rewrite_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    lines = [b"%d" % i * i for i in range(500)]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    for _ in range(5):
        killed(REWRITING, path, after=random.randint(1, 20))
        assert sorted(await contents(path)) == sorted(lines)
    assert os.listdir(tmp_path) == ["out.jsonl"]


async def test_what_a_killed_rewrite_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".out.jsonl.new").write_bytes(b"{}\n")
    assert await contents(tmp_path / "out.jsonl") == []
    assert os.listdir(tmp_path) == ["out.jsonl"]
