"""A first look at the whole input: its faults, all at once, and how many rollouts it makes."""

from pathlib import Path

from attrs import define, field

from gateway.errors import ConfigError
from gateway.rollouts.rows import Line, lines, prepared
from gateway.rollouts.settings import Settings

MOST = 20
"""Faults that are told."""


@define
class Survey:
    """What a run has before it."""

    rows: int = 0
    rollouts: int = 0
    without_tools: int = 0
    """Rows that declare tools, and whose agent has no tool server."""
    indexed: bool = False
    """Whether there are rows that bring an index of their own."""
    faults: list[str] = field(factory=list)
    unsaid: int = 0
    """Faults beyond those."""

    def see(self, line: Line, settings: Settings) -> None:
        """One row more."""
        self.rows += 1
        try:
            row = prepared(line.raw, settings)
        except ValueError as error:
            self._fault(f"{error} @ {settings.input_jsonl_fpath}:{line.number}")
            return
        agent = settings.agent(row)
        self.rollouts += settings.repeats(agent) or 0
        self.indexed |= row.get("_ng_task_index") is not None
        declared = bool(row["responses_create_params"].get("tools"))
        self.without_tools += declared and settings.tool_server(agent) is None

    def _fault(self, fault: str) -> None:
        if len(self.faults) < MOST:
            self.faults.append(fault)
        else:
            self.unsaid += 1

    def judge(self, settings: Settings) -> None:
        """Raises ConfigError."""
        path = settings.input_jsonl_fpath
        if self.faults:
            more = [f"and {self.unsaid} rows more @ {path}"] if self.unsaid else []
            raise ConfigError([*self.faults, *more])
        if not self.rows:
            raise ConfigError(f"there are no rows @ {path}")


def survey(settings: Settings) -> Survey:
    """Look at every row; raises ConfigError with the first faults."""
    seen, path = Survey(), Path(settings.input_jsonl_fpath)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ConfigError("is read twice, so it must be a regular file @ input_jsonl_fpath")
    try:
        for line in lines(path, settings.limit):
            seen.see(line, settings)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror} @ input_jsonl_fpath") from None
    seen.judge(settings)
    return seen
