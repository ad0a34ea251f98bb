"""The rollouts that a run is to make, one by one."""

from collections.abc import Iterator
from pathlib import Path

from attrs import field, frozen

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
    """
    Those that are not done, in the order of the input, the rollouts of a row side by side.

    Equal lines are one task, unless a row brings a ``_ng_task_index`` of its own; its rollouts
    are counted over all of them.
    """
    place = 0
    for line in lines(Path(settings.input_jsonl_fpath), settings.limit):
        row = prepared(line.raw, settings)
        task = row.get(TASK)
        task = row[TASK] = known.task(line.raw) if task is None else task
        for _ in range(settings.repeats(settings.agent(row)) or 0):
            rollout = known.next_rollout(task)
            known.place(task, rollout, place)
            if not known.has(task, rollout):
                yield Task(_numbered(row, rollout, settings), place)
            place += 1


def _numbered(row: Json, rollout: int, settings: Settings) -> Json:
    row = {**row, ROLLOUT: rollout}
    if settings.num_repeats_add_seed:
        row["responses_create_params"] = with_seed(row["responses_create_params"], rollout)
    return row
