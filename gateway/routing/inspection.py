"""What a replica says of itself, and what is odd about it."""

from collections.abc import Iterable, Mapping

from attrs import field, frozen

from gateway.codec import decode
from gateway.core import Json, Replica
from gateway.errors import UpstreamError
from gateway.upstream.connections import Upstream


@frozen
class Card:
    """One replica's ``/v1/models`` and ``/version``; ``status`` is that of the former."""

    status: int
    models: tuple[Json, ...] = ()
    version: str | None = None
    headers: Mapping[str, str] = field(factory=dict)
    """What every reply of the gateway says of it too: that it is simulated."""

    @property
    def names(self) -> list[str]:
        return [str(model.get("id")) for model in self.models]

    def of(self, name: str | None) -> Json:
        """The entry of one model, empty if it is not served."""
        return next((m for m in self.models if m.get("id") == name), {})


async def look(upstream: Upstream, replica: Replica) -> None:
    """
    Ask for its health; raises UpstreamError for a bad one, and UpstreamUnreachable.

    vLLM answers 503 when its engine is dead. Any other answer will do: not all engines have
    that path.
    """
    status, _, _ = await upstream.request("GET", replica.url, "/health", replica.headers)
    if status >= 500:
        raise UpstreamError(f"/health answers {status}", status=status)


async def inspect(upstream: Upstream, replica: Replica) -> Card:
    """
    Ask what it is; raises UpstreamError for an error of the server, and UpstreamUnreachable.

    Any other answer will do: NeMo RL's engines have no ``/v1/models``.
    """
    status, raw, passed = await upstream.request("GET", replica.url, "/v1/models", replica.headers)
    if status >= 500:
        raise UpstreamError(f"/v1/models answers {status}", status=status)
    listed = _object(raw).get("data") if status == 200 else None
    _, version, _ = await upstream.request("GET", replica.url, "/version", replica.headers)
    return Card(
        status,
        tuple(m for m in listed if isinstance(m, dict)) if isinstance(listed, list) else (),
        v if isinstance(v := _object(version).get("version"), str) else None,
        passed,
    )


def _object(raw: bytes) -> Json:
    try:
        value = decode(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def faults(name: str, card: Card, model: str | None) -> Iterable[str]:
    """What is wrong with one replica, in a line each."""
    if card.status in (401, 403):
        yield f"replica {name} refuses our key (status {card.status}); set api_key"
    elif card.models and model is not None and model not in card.names:
        yield f"replica {name} does not serve {model!r} but {', '.join(card.names)}"


def differences(cards: Mapping[str, Card], model: str | None) -> Iterable[str]:
    """What the replicas of one model should share and do not, in a line each."""
    for what in ("max_model_len", "root"):
        yield from _difference(what, {n: c.of(model).get(what) for n, c in cards.items()})
    yield from _difference("version", {n: c.version for n, c in cards.items()})


def _difference(what: str, values: Mapping[str, object]) -> Iterable[str]:
    known = {name: value for name, value in values.items() if value is not None}
    if len(set(map(str, known.values()))) > 1:
        said = ", ".join(f"{name} has {value}" for name, value in known.items())
        yield f"replicas differ in {what}: {said}"
