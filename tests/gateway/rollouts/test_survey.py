"""The first look at an input."""

import os
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.rollouts.settings import Settings
from gateway.rollouts.survey import survey
from tests.gateway.rollouts.scripted import row, write


def settings(path: Path, **fields: Any) -> Settings:
    return Settings(str(path), "out.jsonl", **fields)


def faults(path: Path, **fields: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        survey(settings(path, **fields))
    return raised.value.faults


def test_rows_and_rollouts_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", *[row()] * 3)
    seen = survey(settings(path, num_repeats=4))
    assert (seen.rows, seen.rollouts) == (3, 12)


def test_each_agent_has_its_own_repeats(tmp_path: Path) -> None:
    rows = [row(agent_ref={"name": name}) for name in "aabc"]
    path = write(tmp_path / "in.jsonl", *rows)
    assert survey(settings(path, num_repeats={"a": 5, "_default": 2})).rollouts == 14


def test_only_the_first_rows_are_looked_at(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", row(), row(), {})
    assert survey(settings(path, limit=2)).rows == 2


def test_rows_with_tools_and_no_server_are_counted(tmp_path: Path) -> None:
    bare = {"responses_create_params": {"input": "Hello"}}
    path = write(tmp_path / "in.jsonl", row(), bare, row())
    assert survey(settings(path)).without_tools == 2
    assert survey(settings(path, tools={"": "http://a"})).without_tools == 0


def test_all_faults_are_told_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'\n{"a": }\n\n[]\n{"responses_create_params": {"input": "Hello"}}\n{}')
    first, second, third = faults(path)
    assert first.endswith(f" @ {path}:2")
    assert second == f"the row must be an object @ {path}:4"
    assert third == f"responses_create_params must be an object @ {path}:6"


def test_of_many_faults_the_first_are_told_and_the_others_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", *[{}] * 25)
    found = faults(path)
    assert len(found) == 21
    assert found[19].endswith(f"{path}:20")
    assert found[20] == f"and 5 rows more @ {path}"


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_input_without_rows_is_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(content)
    assert faults(path) == [f"there are no rows @ {path}"]


def test_an_input_that_is_not_there_is_told(tmp_path: Path) -> None:
    said = "cannot be read: No such file or directory @ input_jsonl_fpath"
    assert faults(tmp_path / "in.jsonl") == [said]


def test_an_input_that_can_be_read_only_once_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    os.mkfifo(path)
    assert faults(path) == ["is read twice, so it must be a regular file @ input_jsonl_fpath"]


def test_rows_that_bring_their_index_are_noticed(tmp_path: Path) -> None:
    assert survey(settings(write(tmp_path / "a", row(), row(_ng_task_index=0), row()))).indexed
    assert not survey(settings(write(tmp_path / "b", row(), row(_ng_task_index=None)))).indexed
