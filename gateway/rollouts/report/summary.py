"""What a run of rollouts came to, counted from its finished lines."""

from collections import Counter

from attrs import define, field

from gateway.core import Json
from gateway.rollouts.report.sample import Sample

ENDS = ("message", "no_message", "incomplete", "overflow", "max_steps", "function_calls", "failed")
OTHERS = "others"
"""Stands for the names that came when there were too many."""
MOST_FAILURES = 20
MOST_REPLICAS = 1000
LONGEST = 80
"""Characters that are kept of a name or message."""
GREATEST = 1e15
"""No quantity of a rollout is beyond it."""


@define(eq=False)
class Summary:
    """
    All that is told of a run, in memory that does not grow with it.

    Calls and tokens are those of all rollouts; what is distributed over rollouts leaves the
    failed ones out.
    """

    rollouts: int = 0
    ends: Counter[str] = field(factory=Counter)
    """Only of those in ``ENDS``."""
    failures: Counter[str] = field(factory=Counter)
    """By where it was and the beginning of the message."""
    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Those of the input that a replica still had."""
    cached_of: int = 0
    """Tokens of the input of calls that tell how many were cached."""
    prefix_breaks: int = 0
    replicas: Counter[str] = field(factory=Counter)
    """Calls of the model by replica."""
    reward: Sample = field(factory=Sample)
    """Of rollouts that are not masked."""
    rollout_turns: Sample = field(factory=Sample)
    rollout_output_tokens: Sample = field(factory=Sample)
    rollout_seconds: Sample = field(factory=Sample)
    call_seconds: Sample = field(factory=Sample)
    tool_seconds: Sample = field(factory=Sample)

    @property
    def failed(self) -> int:
        return self.ends["failed"]

    def add(self, line: Json) -> None:
        """Count a line of the output; what is missing in it, or odd, counts as nothing."""
        self.rollouts += 1
        if not line.get("mask_sample"):
            reward = line.get("reward")
            _put(self.reward, int(reward) if isinstance(reward, bool) else reward)
        told = _object(line.get("_gateway"))
        turns = _objects(told.get("turns"))
        self._count_end(told)
        self._count_calls(turns, _objects(told.get("tools")))
        self.prefix_breaks += len(_objects(told.get("prefix_breaks")))
        if told and told.get("end") != "failed":
            self._distribute(turns, told.get("seconds"))

    def _count_end(self, told: Json) -> None:
        end = told.get("end")
        if end in ENDS:
            self.ends[end] += 1
        if end == "failed":
            error = _object(told.get("error"))
            label = f"{_text(error.get('where'))}: {_text(error.get('message'))}"
            _count(self.failures, label, MOST_FAILURES)

    def _count_calls(self, turns: list[Json], tools: list[Json]) -> None:
        self.turns += len(turns)
        for turn in turns:
            self.input_tokens += _tokens(turn, "input_tokens")
            self.output_tokens += _tokens(turn, "output_tokens")
            if _number(turn.get("cached_tokens")) is not None:
                self.cached_tokens += _tokens(turn, "cached_tokens")
                self.cached_of += _tokens(turn, "input_tokens")
            _put(self.call_seconds, turn.get("seconds"), least=0)
            if replica := turn.get("replica"):
                _count(self.replicas, _text(replica), MOST_REPLICAS)
        for tool in tools:
            _put(self.tool_seconds, tool.get("seconds"), least=0)

    def _distribute(self, turns: list[Json], seconds: object) -> None:
        _put(self.rollout_seconds, seconds, least=0)
        self.rollout_turns.add(len(turns))
        if any(_number(turn.get("output_tokens")) is not None for turn in turns):
            self.rollout_output_tokens.add(sum(_tokens(turn, "output_tokens") for turn in turns))


def _count(counts: Counter[str], name: str, most: int) -> None:
    counts[name if name in counts or len(counts) < most else OTHERS] += 1


def _put(sample: Sample, value: object, least: float = -GREATEST) -> None:
    number = _number(value)
    if number is not None and number >= least:
        sample.add(number)


def _tokens(turn: Json, key: str) -> int:
    return max(int(_number(turn.get(key)) or 0), 0)


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value if abs(value) <= GREATEST else None


def _text(value: object) -> str:
    """One line that a terminal can show, whatever a server has said."""
    said = value[:LONGEST] if isinstance(value, str) else ""
    words = "".join(letter if letter.isprintable() else " " for letter in said).split()
    return " ".join(words) or "unknown"


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[Json]:
    members = value if isinstance(value, list) else []
    return [member for member in members if isinstance(member, dict)]
