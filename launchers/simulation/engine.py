"""The state of one simulated replica: its speed, its cache and its counters."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence

from attrs import define, field, frozen

from gateway.core import Json
from launchers.simulation.cache import BLOCK, PrefixCache
from launchers.simulation.refusal import unknown_model

VERSION = "0.32.0"
FINGERPRINT = f"vllm-{VERSION}-simulated"


@frozen
class Pace:
    """How fast tokens come."""

    tokens_per_second: float | None = None
    """Of each choice; as many as there are if unset."""
    time_to_first_token: float = 0.0
    """In seconds."""

    def due(self, tokens: int) -> float:
        """Seconds after the start of a call at which so many tokens of a choice are there."""
        rate = self.tokens_per_second
        return self.time_to_first_token + (max(0, tokens - 1) / rate if rate else 0.0)


@frozen
class Step:
    """One chunk of a reply: due once its choice has ``made`` tokens, ``new`` of them in it."""

    made: int
    new: int
    chunk: Json


@define
class Engine:
    """One model on one replica."""

    model: str
    max_model_len: int
    thinks: bool
    pace: Pace
    cache: PrefixCache = field(factory=PrefixCache)
    running: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0
    hits: int = 0

    def prefill(self, prompt: Sequence[int], salt: str | None) -> tuple[int, int]:
        """Take in a prompt; the tokens of it that were cached, and that are from now on."""
        cached = self.cache.cached(prompt, salt)
        self.cache.add(prompt, salt)
        self.prompt_tokens += len(prompt)
        self.hits += cached
        return cached, len(prompt) // BLOCK * BLOCK - cached

    def check_model(self, body: Json) -> None:
        """Raises NotFound for a model name that is not served; none at all is fine."""
        asked = body.get("model")
        if asked and asked != self.model:
            raise unknown_model(asked, self.model)

    async def play(self, steps: Iterable[Step]) -> AsyncGenerator[Json, None]:
        """The chunks in their time; the call runs until the iterator ends or is closed."""
        start = asyncio.get_running_loop().time()
        self.running += 1
        try:
            for step in steps:
                await self._until(start + self.pace.due(step.made))
                self.generation_tokens += step.new
                yield step.chunk
        finally:
            self.running -= 1

    async def _until(self, moment: float) -> None:
        delay = moment - asyncio.get_running_loop().time()
        if delay > 0:
            await asyncio.sleep(delay)

    def metrics(self) -> str:
        """The counters in the text format of Prometheus."""
        values = {
            "num_requests_running": ("gauge", self.running),
            "num_requests_waiting": ("gauge", 0),
            "prefix_cache_queries_total": ("counter", self.prompt_tokens),
            "prefix_cache_hits_total": ("counter", self.hits),
            "prompt_tokens_total": ("counter", self.prompt_tokens),
            "generation_tokens_total": ("counter", self.generation_tokens),
        }
        return "".join(self._metric(name, *value) for name, value in values.items())

    def _metric(self, name: str, kind: str, value: int) -> str:
        labels = f'engine="0",model_name="{_escaped(self.model)}"'
        return f"# TYPE vllm:{name} {kind}\nvllm:{name}{{{labels}}} {float(value)}\n"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
