"""Who may open an output, and what is left of what a killed run wrote."""

import logging
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.rollouts.opening import BLOCK, lock
from gateway.rollouts.output import Output
from tests.gateway.rollouts.outputs import contents, script

NOBODY = 65534
"""Root may write anything, so it becomes somebody else."""


def refused(path: Path, *, resume: bool = False) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        Output.open(path, resume=resume)
    return raised.value.faults


@given(st.lists(st.integers(0, 20) | st.integers(BLOCK - 2, 2 * BLOCK), max_size=5), st.data())
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
    async with Output.open(path, resume=False) as output:
        assert await output.add(b"{}") == (0, 3)


@pytest.mark.parametrize(
    ("name", "why"), [("none/out.jsonl", "No such file or directory"), (".", "Is a directory")]
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, name: str, why: str) -> None:
    path = tmp_path / name
    assert refused(path) == [f"{path} cannot be written: {why} @ output_jsonl_fpath"]


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    os.mkfifo(path)
    assert refused(path) == [f"{path} is no regular file @ output_jsonl_fpath"]


REFUSED = """
import os, sys
from pathlib import Path
from gateway.errors import ConfigError
from gateway.rollouts.output import Output
path, user = sys.argv[1:]
os.seteuid(int(user))
try:
    Output.open(Path(path), resume=False)
except ConfigError as error:
    print(error, file=sys.stderr)
"""


def test_stdout_is_refused() -> None:
    with script(REFUSED, "/dev/stdout", os.geteuid()) as process:
        _, said = process.communicate()
    assert said == b"/dev/stdout is no regular file @ output_jsonl_fpath\n"


def test_stdout_is_refused_where_it_is_a_file(tmp_path: Path) -> None:
    with (
        (tmp_path / "out.jsonl").open("wb") as out,
        script(REFUSED, "/dev/stdout", os.geteuid(), stdout=out) as process,
    ):
        _, said = process.communicate()
    assert said == b"/dev/stdout is where this command prints to @ output_jsonl_fpath\n"


def test_a_file_that_was_replaced_cannot_be_locked(tmp_path: Path) -> None:
    path, other = tmp_path / "out.jsonl", tmp_path / "rewritten"
    other.touch()
    with path.open("wb") as file:
        os.replace(other, path)
        with pytest.raises(BlockingIOError):
            lock(file.fileno(), path)


def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.touch(mode=0o444)
    with script(REFUSED, path, os.geteuid() or NOBODY) as process:
        _, said = process.communicate()
    fault = f"{path} cannot be written: Permission denied @ output_jsonl_fpath\n"
    assert said.decode() == fault


async def test_two_runs_cannot_have_one_output(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    fault = f"{path} is being written by another run @ output_jsonl_fpath"
    async with Output.open(path, resume=True) as output:
        assert refused(path, resume=True) == [fault]
        await output.rewrite([])
        assert refused(path, resume=True) == [fault]
    assert await contents(path) == []


async def test_what_a_killed_rewrite_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".out.jsonl.new").write_bytes(b"{}\n")
    assert await contents(tmp_path / "out.jsonl") == []
    assert os.listdir(tmp_path) == ["out.jsonl"]
