"""The rollouts that are to be made."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.core import Json
from gateway.rollouts.known import Known
from gateway.rollouts.settings import Settings
from gateway.rollouts.tasks import Task, tasks
from tests.gateway.rollouts.scripted import row, write


@pytest.fixture
def known() -> Iterator[Known]:
    with Known() as made:
        yield made


def made(folder: Path, known: Known, *rows: Json, **fields: Any) -> list[Task]:
    path = write(folder / "in.jsonl", *rows)
    return [*tasks(Settings(str(path), "out.jsonl", **fields), known)]


def keys(found: list[Task]) -> list[tuple[int | str, int]]:
    return [task.key for task in found]


def test_rows_are_numbered_and_their_rollouts_stand_side_by_side(
    tmp_path: Path, known: Known
) -> None:
    found = made(tmp_path, known, row("a"), row("b"), num_repeats=2)
    assert keys(found) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [task.place for task in found] == [0, 1, 2, 3]


def test_the_numbers_are_in_the_row(tmp_path: Path, known: Known) -> None:
    (task,) = made(tmp_path, known, row(city="Paris"))
    assert task.row == {**row(city="Paris"), "_ng_task_index": 0, "_ng_rollout_index": 0}
    assert task.params == row()["responses_create_params"]


def test_equal_lines_are_one_task(tmp_path: Path, known: Known) -> None:
    found = made(tmp_path, known, row("a"), row("b"), row("a"), num_repeats=2)
    assert keys(found) == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3)]


def test_a_row_may_bring_its_index(tmp_path: Path, known: Known) -> None:
    given = [row("a", _ng_task_index=7), row("b", _ng_task_index="x"), row("c", _ng_task_index=7)]
    assert keys(made(tmp_path, known, *given)) == [(7, 0), ("x", 0), (7, 1)]


def test_a_row_without_an_index_may_have_that_of_another(tmp_path: Path, known: Known) -> None:
    found = made(tmp_path, known, row("a", _ng_task_index=0), row("b"))
    assert keys(found) == [(0, 0), (0, 1)]


def test_the_rollout_index_of_a_row_is_not_taken(tmp_path: Path, known: Known) -> None:
    assert keys(made(tmp_path, known, row(_ng_rollout_index=5))) == [(0, 0)]


def test_what_is_there_is_not_made_again(tmp_path: Path, known: Known) -> None:
    known.note(0, 1, 0, 10)
    found = made(tmp_path, known, row("a"), row("b"), num_repeats=2)
    assert [(task.key, task.place) for task in found] == [((0, 0), 0), ((1, 0), 2), ((1, 1), 3)]


def test_the_places_of_all_are_known(tmp_path: Path, known: Known) -> None:
    known.note(1, 0, 0, 10)
    made(tmp_path, known, row("a"), row("b"))
    known.note(0, 0, 10, 5)
    assert [*known.in_order()] == [(10, 5), (0, 10)]


def test_only_the_first_rows_are_taken(tmp_path: Path, known: Known) -> None:
    assert keys(made(tmp_path, known, row("a"), row("b"), row("c"), limit=2)) == [(0, 0), (1, 0)]


def test_each_agent_has_its_own_repeats(tmp_path: Path, known: Known) -> None:
    given = [row(agent_ref={"name": name}) for name in "ab"]
    found = made(tmp_path, known, *given, num_repeats={"a": 2, "_default": 1})
    assert keys(found) == [(0, 0), (0, 1), (1, 0)]


def test_each_rollout_has_its_number_as_its_seed(tmp_path: Path, known: Known) -> None:
    found = made(tmp_path, known, row(), num_repeats=3, num_repeats_add_seed=True)
    extra = [json.loads(task.params["metadata"]["extra_body"]) for task in found]
    assert extra == [{"seed": 0}, {"seed": 1}, {"seed": 2}]


def test_overrides_and_the_agent_are_in_the_row(tmp_path: Path, known: Known) -> None:
    overrides = {"temperature": 0.7}
    (task,) = made(tmp_path, known, row(), agent_name="a", responses_create_params=overrides)
    assert task.row["agent_ref"] == {"name": "a"}
    assert task.params["temperature"] == 0.7
