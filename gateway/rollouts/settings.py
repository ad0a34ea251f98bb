"""What a run of rollouts is asked to do; every key is documented where it is declared."""

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from gateway.config import rules
from gateway.config.structure import Url
from gateway.core import Json
from gateway.masking import shown

_positive_each = rules.must_be("more than 0", lambda repeats: _least(repeats) > 0)
LOCAL = Url("http://127.0.0.1:8000")


@frozen
class Settings:
    """The keys of a run, under NeMo Gym's names where it has them."""

    input_jsonl_fpath: str = field(validator=rules.not_empty)
    """One row a line: ``responses_create_params``, and whatever else its tool server wants."""
    output_jsonl_fpath: str = field(validator=rules.not_empty)
    """One finished rollout a line."""
    url: Url = LOCAL
    """The address of the gateway, or of anything else that has the Responses API."""
    api_key: str | None = field(
        default=None, repr=False, validator=rules.header, metadata={"secret": True}
    )
    model: str | None = field(default=None, validator=rules.not_empty)
    """For rows that name none; if it is not given, the only one that the address has."""
    agent_name: str | None = field(default=None, validator=rules.not_empty)
    """The agent of all rows, whatever their own ``agent_ref`` says."""
    tools: Mapping[str, Url] = field(factory=dict, repr=shown)
    """The address of each agent's tool server; the one named ``""`` is that of all others."""
    limit: int | None = field(default=None, validator=rules.positive)
    """Rows that are taken of the input."""
    num_repeats: int | Mapping[str, int] = field(default=1, validator=_positive_each)
    """Rollouts of each row, or of each row of an agent by its name, ``_default`` for the others."""
    num_repeats_add_seed: bool = False
    """Whether each gets its number as its seed, in ``metadata.extra_body``."""
    num_samples_in_parallel: int = field(default=128, validator=rules.positive)
    """Rollouts at once."""
    responses_create_params: Mapping[str, Any] = field(factory=dict, repr=shown)
    """Fields that win over those of the rows."""
    resume_from_cache: bool = False
    """Whether the output is gone on with."""
    retry_failed: bool = False
    """Whether failed rollouts of the output are made again."""
    order: Literal["completion", "input"] = "completion"
    """Of the lines, once all are there."""
    session: Literal["header", "path"] = "header"
    """How the address is told which rollout a call belongs to."""
    max_steps: int | None = field(default=None, validator=rules.positive)
    """Calls of the model in one rollout."""
    timeout: float = field(default=3600.0, validator=rules.positive, metadata={"unit": "seconds"})
    """Seconds for one call of the model or a tool."""

    @property
    def goes_on(self) -> bool:
        """Whether there may be rollouts in the output."""
        return self.resume_from_cache or self.retry_failed

    def agent(self, row: Json) -> str:
        """The name of the row's agent; empty if it has none."""
        return self.agent_name or str((row.get("agent_ref") or {}).get("name") or "")

    def tool_server(self, agent: str) -> Url | None:
        """The address of the agent's tool server."""
        return self.tools.get(agent) or self.tools.get("")

    def repeats(self, agent: str) -> int | None:
        """How many rollouts are made of a row of this agent; None if nothing says so."""
        if isinstance(self.num_repeats, int):
            return self.num_repeats
        return self.num_repeats.get(agent, self.num_repeats.get("_default"))


def _least(repeats: int | Mapping[str, int]) -> int:
    return repeats if isinstance(repeats, int) else min(repeats.values(), default=1)
