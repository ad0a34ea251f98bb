"""The file of finished rollouts: real files, real kills, a real limit of size."""

import asyncio
import json
import os
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.rollouts.output import BLOCK, Output
from tests.gateway.rollouts.outputs import contents, script

LONG = BLOCK * 2
"""Longer than what is read at once."""


async def test_a_line_is_in_the_file_when_its_add_returns(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    async with Output.open(path, resume=False) as output:
        assert await output.add(b'{"a": 1}') == (0, 9)
        assert path.read_bytes() == b'{"a": 1}\n'
        assert await output.add(b"{}") == (9, 3)
    assert path.read_bytes() == b'{"a": 1}\n{}\n'


async def test_lines_that_are_added_at_once_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    lines = [b"%d" % i * (i % 200) for i in range(1, 1001)]
    async with Output.open(path, resume=True) as output:
        places = await asyncio.gather(*(output.add(line) for line in lines))
        read = path.read_bytes()
    assert [read[start : start + size] for start, size in places] == [x + b"\n" for x in lines]
    assert len(read) == sum(size for _, size in places)


async def test_lines_say_where_they_start(tmp_path: Path) -> None:
    async with Output.open(tmp_path / "out.jsonl", resume=True) as output:
        for line in (b"one", b"", b"three"):
            await output.add(line)
        assert list(output.lines()) == [(0, b"one"), (4, b""), (5, b"three")]


async def test_a_run_that_goes_on_appends(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"one\n")
    async with Output.open(path, resume=True) as output:
        assert await output.add(b"two") == (4, 4)
    assert path.read_bytes() == b"one\ntwo\n"


async def test_lines_of_cancelled_adds_are_written(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    lines = [b"%d" % i for i in range(100)]
    async with Output.open(path, resume=True) as output:
        adds = [asyncio.create_task(output.add(line)) for line in lines]
        await asyncio.sleep(0)  # each has handed its line over
        for add in adds[:90]:
            add.cancel()
        ends = await asyncio.gather(*adds, return_exceptions=True)
    assert {type(end) for end in ends[90:]} == {tuple}
    assert path.read_bytes() == b"".join(line + b"\n" for line in lines)


async def test_leaving_writes_what_was_handed_over(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    async with Output.open(path, resume=True) as output:
        rewrite = asyncio.create_task(output.rewrite([]))
        add = asyncio.create_task(output.add(b"one"))
        await asyncio.sleep(0)
        add.cancel()
    assert path.read_bytes() == b"one\n"
    await rewrite


async def test_a_link_is_followed(tmp_path: Path) -> None:
    link, path = tmp_path / "link.jsonl", tmp_path / "elsewhere" / "out.jsonl"
    path.parent.mkdir()
    link.symlink_to(path)
    async with Output.open(link, resume=True) as output:
        assert output.path == path
        await output.rewrite([await output.add(b"two"), await output.add(b"one")][::-1])
    assert link.is_symlink()
    assert path.read_bytes() == b"one\ntwo\n"


async def test_the_file_is_made_anew_of_its_pieces(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    lines = [b"a", b"b" * LONG, b"c", b""]
    async with Output.open(path, resume=True) as output:
        a, b, _, d = [await output.add(line) for line in lines]
        await output.rewrite(iter([d, b, a]))
        assert await output.add(b"more") == (LONG + 4, 5)
        assert [line for _, line in output.lines()] == [b"", b"b" * LONG, b"a", b"more"]
    assert os.listdir(tmp_path) == ["out.jsonl"]


async def test_the_new_file_may_be_read_by_whom_the_old_one_may(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.touch()
    path.chmod(0o640)
    async with Output.open(path, resume=True) as output:
        await output.rewrite([])
    assert path.stat().st_mode & 0o777 == 0o640


async def test_a_rewrite_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"

    def pieces() -> Iterator[tuple[int, int]]:
        yield 4, 4
        raise OSError("the end")

    async with Output.open(path, resume=True) as output:
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
        async with Output.open(path, resume=True) as output:
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
