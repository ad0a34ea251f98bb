"""The rollouts that a run is to make, one by one."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from attrs import evolve, field, frozen

from gateway.core import Json
from gateway.rollouts.known import Known
from gateway.rollouts.rows import lines, prepared, with_seed
from gateway.rollouts.settings import Settings

TASK, ROLLOUT = "_ng_task_index", "_ng_rollout_index"


@frozen
class Task:
    """One rollout that is to be made."""

    row: Json = field(repr=False)
    """As the tool server sees it."""
    place: int
    """In the order of the input."""

    @property
    def key(self) -> tuple[int | str, int]:
        """Which row it is of, and which of its rollouts it is."""
        return self.row[TASK], self.row[ROLLOUT]

    @property
    def params(self) -> Json:
        params: Json = self.row["responses_create_params"]
        return params


def tasks(settings: Settings, known: Known) -> Iterator[Task]:
    """Those that are not done, in the order of the input, the rollouts of a row side by side."""
    for task in _all(settings, known):
        if not known.has(*task.key):
            yield _seeded(task) if settings.num_repeats_add_seed else task


def place_all(settings: Settings, known: Known) -> None:
    """Make known which rollouts are those of this run, before any of them is asked for."""
    for _ in _all(settings, known):
        pass


def _all(settings: Settings, known: Known) -> Iterator[Task]:
    """
    Equal lines are one task, unless a row brings a ``_ng_task_index`` of its own.

    Its rollouts are counted over all of them.
    """
    known.count_anew()
    places = count()
    for line in lines(Path(settings.input_jsonl_fpath), settings.limit):
        row = prepared(line.raw, settings)
        task = row.get(TASK)
        task = row[TASK] = known.task(line.raw) if task is None else task
        for _ in range(settings.repeats(settings.agent(row)) or 0):
            rollout, place = known.next_rollout(task), next(places)
            known.place(task, rollout, place)
            yield Task({**row, ROLLOUT: rollout}, place)


def _seeded(task: Task) -> Task:
    params = with_seed(task.params, task.row[ROLLOUT])
    return evolve(task, row={**task.row, "responses_create_params": params})
