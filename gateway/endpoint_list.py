"""The lines of an endpoint file: what ``launch --publish`` writes, and gateways read."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote, urlsplit

from attrs import field, frozen

from gateway.bearer import BEARER, with_key
from gateway.core import Replica

_WORDS = ("model", "name", "key")


@frozen
class Endpoint:
    """One line: the URL of a replica, and what else is known of it."""

    url: str = field(repr=False)
    """Without ``/v1`` and without a trailing slash."""
    model: str | None = None
    """The configured model that it is for; for all that read the file if None."""
    name: str | None = None
    """The replica's name; its host and port if None."""
    key: str | None = field(default=None, repr=False)
    """Sent to it as a Bearer token."""

    def replica(self, headers: Mapping[str, str]) -> Replica:
        """The replica, which is sent these headers, and the key instead of one in them."""
        name = quote(self.name, safe=":") if self.name else _name(self.url)
        return Replica(name, self.url, with_key(headers, self.key) if self.key else headers)


def _name(url: str) -> str:
    """Host and port, and the path if there is one, in characters that a cookie may hold."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return quote(f"{parts.hostname}:{port}{parts.path}", safe=":")


def read(line: str) -> Endpoint | None:
    """
    The endpoint of a line, ``URL [model=NAME] [name=NAME] [key=KEY]``; None if it has none.

    What follows a ``#`` is a comment, and words are percent-encoded. Raises ValueError for a line
    of another shape; whether the URL is one is not looked at.
    """
    url, *words = line.partition("#")[0].split() or [""]
    pairs = [word.partition("=") for word in words]
    if any(name not in _WORDS or not value for name, _, value in pairs):
        raise ValueError("after the URL there may be model=, name= and key=")
    root = url.rstrip("/").removesuffix("/v1").rstrip("/")
    return Endpoint(root, **{name: unquote(value) for name, _, value in pairs}) if url else None


def write(replicas: Mapping[str, Sequence[Replica]]) -> str:
    """The file that says which replicas each model has; those that are down are comments."""
    lines = [_line(model, replica) for model, found in replicas.items() for replica in found]
    return "".join(f"{line}\n" for line in lines)


def _line(model: str, replica: Replica) -> str:
    if replica.down is not None:
        return " ".join(f"# {replica.name} of {model} is down: {replica.down}".split())
    key = replica.headers.get("Authorization", "").removeprefix(BEARER)
    words = {"model": model, "name": replica.name, "key": key}
    pairs = (f"{name}={quote(value, safe=':/')}" for name, value in words.items() if value)
    return " ".join([replica.url, *pairs])
