"""What a rollout has come to so far."""

from collections.abc import Iterator
from typing import Any

from attrs import define, field

from gateway.arrays import first_difference
from gateway.chunks import ARRAYS
from gateway.codec import Raw, decode, encode
from gateway.core import Json
from gateway.rollouts.loop.usage import total


@define
class Trajectory:
    """The turns of one rollout; whatever ends it, they are kept."""

    session: str
    items: list[Json] = field(factory=list, repr=False)
    """The output of all turns, with the results of tools between them."""
    turns: list[Json] = field(factory=list)
    """What each answered call of the model took."""
    tools: list[Json] = field(factory=list)
    """What each call of a tool took."""
    where: str = "model"
    """What is asked now: ``seed_session``, ``model``, ``tools`` or ``verify``."""
    end: str = "failed"
    _last: Json | None = field(default=None, init=False, repr=False)
    _usages: list[Any] = field(factory=list, init=False)

    def add(self, response: Json) -> None:
        """The model's answer of one turn; token ids are kept in it as they are written."""
        for item in response["output"]:
            item.update({name: Raw(encode(item[name])) for name in ARRAYS if item.get(name)})
        self.items += response["output"]
        self._usages.append(response.get("usage"))
        self._last = response

    @property
    def history(self) -> list[Json]:
        """
        The items as the model is asked with them: of token ids only the newest.

        An engine that looks at those of a history looks at no others (NeMo RL's), and with all of
        them requests would grow with the square of the turns.
        """
        old = max((i for i, item in enumerate(self.items) if item.get(ARRAYS[0])), default=0)
        return [*map(_without_arrays, self.items[:old]), *self.items[old:]]

    @property
    def response(self) -> Json | None:
        """The last response with the output of all and the usage of all; None before the first."""
        if self._last is None:
            return None
        return {**self._last, "output": self.items, "usage": total(self._usages)}

    @property
    def prefix_breaks(self) -> list[Json]:
        """
        Where the prompt of a turn does not begin with all earlier tokens.

        ``item`` is the place in the output, ``at`` the first token that differs. NeMo RL asserts
        that there is none: what was sampled after another prompt cannot be trained on as one.
        """
        return [*_breaks(self.items)]


def _without_arrays(item: Json) -> Json:
    return {name: value for name, value in item.items() if name not in ARRAYS}


def _breaks(items: list[Json]) -> Iterator[Json]:
    seen: list[int] = []
    for place, item in enumerate(items):
        generated = _ids(item, "generation_token_ids")
        if not generated:
            continue
        prompt = _ids(item, "prompt_token_ids")
        at = first_difference(seen, prompt)
        if at is not None:
            yield {"item": place, "at": at}
        seen = prompt + generated


def _ids(item: Json, name: str) -> list[int]:
    written = item.get(name)
    ids = decode(written.raw) if isinstance(written, Raw) else None
    return ids if isinstance(ids, list) else []
