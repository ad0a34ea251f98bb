"""Replicas that somebody else runs: fixed URLs, or a file that lists them."""

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from attrs import Attribute, field, frozen

from gateway.core import Replica
from gateway.endpoint_list import Endpoint
from launchers.endpoint_file import has_user, is_root, watch

logger = logging.getLogger(__name__)

_HEADER = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 5.5


def _addresses(_: object, __: "Attribute[Any]", urls: Sequence[str]) -> None:
    for index, url in enumerate(urls):
        if not is_root(url):
            raise ValueError(f"not the http(s) URL of a server: number {index}")


def _sendable(_: object, __: "Attribute[Any]", headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not _HEADER.fullmatch(value):
            raise ValueError(f"the value of {name!r} cannot stand in a header")


async def once(replicas: Sequence[Replica]) -> AsyncGenerator[Sequence[Replica], None]:
    """A set that never changes."""
    yield replicas


@frozen
class External:
    """
    Replicas that already run.

    With ``endpoint_file`` they are those in that file, one a line, and ``base_url`` does not
    count. If the file is gone or lists none, the last known replicas stay for
    ``endpoint_stale_grace_s`` seconds. Its lines may name the model that they are for, and carry
    a key of their own (see `gateway.endpoint_list`).
    """

    base_url: tuple[str, ...] = field(default=(), repr=False, validator=_addresses)
    """Without ``/v1`` and without a trailing slash."""
    headers: Mapping[str, str] = field(
        factory=dict, repr=False, validator=_sendable, metadata={"secret": True}
    )
    """Sent with every request; they carry the key."""
    endpoint_file: str | None = None
    endpoint_stale_grace_s: float = 300.0
    endpoint_check_interval_s: float = 10.0
    model: str | None = None
    """The configured name of the model, for a file that lists replicas of several."""

    def __attrs_post_init__(self) -> None:
        if self._has_key and any(map(has_user, self.base_url)):
            raise ValueError("a user in the URL, and an api_key: only one of them can be sent")

    @property
    def _has_key(self) -> bool:
        return any(name.lower() == "authorization" for name in self.headers)

    @asynccontextmanager
    async def launch(self) -> AsyncIterator[AsyncIterator[Sequence[Replica]]]:
        file = self.endpoint_file
        given = (Endpoint(url) for url in self.base_url)
        sets = once(self._replicas(given)) if file is None else self._listed_in(file)
        async with aclosing(sets):
            yield sets

    async def _listed_in(self, file: str) -> AsyncGenerator[Sequence[Replica], None]:
        grace, interval = self.endpoint_stale_grace_s, self.endpoint_check_interval_s
        found = watch(Path(file), grace=grace, interval=interval, users=not self._has_key)
        async with aclosing(found) as changes:
            async for endpoints in changes:
                yield self._replicas(e for e in endpoints if e.model in (None, self.model))

    def _replicas(self, endpoints: Iterable[Endpoint]) -> Sequence[Replica]:
        named: dict[str, Replica] = {}
        for endpoint in endpoints:
            replica = endpoint.replica(self.headers)
            if named.setdefault(replica.name, replica) is not replica:
                logger.warning("the replica %s is listed more than once", replica.name)
        return tuple(named.values())
