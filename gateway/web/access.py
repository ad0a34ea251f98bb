"""Who may do what: the keys of the gateway's own clients, and the admin key."""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from attrs import field, frozen

from gateway.bearer import BEARER
from gateway.config import Config, KeyFile
from gateway.errors import ConfigError, Forbidden, Unauthorized

Need = Literal["probe", "call", "status", "admin"]
"""What a request asks for."""

ADMIN = "admin_key"
_PROBES = {"/", "/health", "/ready"}
"""What load balancers ask for, without a key unless the configuration says otherwise."""
_STATUS = {"/metrics", "/sessions", "/sessions/{}"}
_CALL = {"/{}v1/models", "/{}v1/models/{}"}
"""Besides calls themselves, which are no routes."""


@cache
def need_of(route: str) -> Need:
    """
    What a route is for, by its path as it was declared, with its variables in braces.

    A route that nobody thought of here is for the admin.
    """
    path = re.sub(r"{\w+}", "{}", route)
    if path in _PROBES:
        return "probe"
    if path in _STATUS:
        return "status"
    return "call" if path in _CALL else "admin"


@frozen
class Access:
    """The keys that open the gateway; without those of clients all who reach it may call."""

    digests: Mapping[str, bytes] = field(factory=dict, repr=False)
    """By the paths of the keys in the configuration."""
    health_needs_key: bool = False
    _clients_have_keys: bool = field(init=False)

    @_clients_have_keys.default
    def _any(self) -> bool:
        return any(path != ADMIN for path in self.digests)

    @classmethod
    def of(cls, config: Config) -> "Access":
        """Raises ConfigError for a key that cannot be read, is empty, or stands there twice."""
        sources = {f"api_keys.{name}": source for name, source in config.api_keys.items()}
        if config.admin_key is not None:
            sources[ADMIN] = config.admin_key
        faults: list[str] = []
        digests: dict[str, bytes] = {}
        for path, source in sources.items():
            digest = _digest(_read(path, source, faults))
            same = [other for other, known in digests.items() if known == digest]
            faults += [f"the same key as {other} @ {path}" for other in same]
            digests[path] = digest
        if faults:
            raise ConfigError(faults)
        return cls(digests, config.health_needs_key)

    def check(self, need: Need, headers: Mapping[str, str]) -> None:
        """Raises Unauthorized or Forbidden if the keys in these headers are not good for it."""
        if need == "admin" and ADMIN not in self.digests:
            message = "closed: no admin_key is set in the gateway's configuration"
            raise Forbidden(message, code="admin_disabled")
        if need == "admin" or (need == "status" and ADMIN in self.digests):
            if ADMIN not in self.holders(headers):
                raise Forbidden("only the admin key opens this", code="admin_key_required")
        elif self._clients_have_keys and (need != "probe" or self.health_needs_key):
            self.holders(headers)

    def holders(self, headers: Mapping[str, str]) -> set[str]:
        """
        The paths of the keys in these headers, ``Authorization: Bearer`` or ``x-api-key``.

        The comparison takes the same time for every key. Raises Unauthorized if there is none.
        """
        given = [*_given(headers)]
        if not given:
            raise Unauthorized("no API key: send it as Authorization: Bearer KEY, or as x-api-key")
        asked = [_digest(key) for key in given]
        found = {
            path
            for path, digest in self.digests.items()
            if any(hmac.compare_digest(digest, one) for one in asked)
        }
        if not found:
            raise Unauthorized("the API key is not one of this gateway's")
        return found


def middlewares(current: Callable[[], Access]) -> list[Middleware]:
    """What lets those pass who may, by the keys that count when a request comes."""

    @web.middleware
    async def allowed(request: web.Request, handler: Handler) -> web.StreamResponse:
        current().check(_need(request), request.headers)
        return await handler(request)

    return [allowed]


def _need(request: web.Request) -> Need:
    """By the route that was found, since a path can be spelled in many ways."""
    resource = request.match_info.route.resource
    return "call" if resource is None else need_of(resource.canonical)


def _given(headers: Mapping[str, str]) -> Iterator[str]:
    scheme = headers.get("Authorization", "")
    if scheme[: len(BEARER)].lower() == BEARER.lower():
        yield scheme[len(BEARER) :].strip()
    if "x-api-key" in headers:
        yield headers["x-api-key"].strip()


def _digest(key: str) -> bytes:
    """Of one length for all keys, so that a comparison tells nothing of them."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _read(path: str, source: str | KeyFile, faults: list[str]) -> str:
    text = source if isinstance(source, str) else _content(path, source.file, faults)
    if text is not None and not text.strip():
        faults.append(f"the key is empty @ {path}")
    return (text or path).strip()


def _content(path: str, file: str, faults: list[str]) -> str | None:
    try:
        return Path(file).read_text()
    except OSError as error:
        why = error.strerror
    except UnicodeDecodeError:
        why = "it is not text"
    faults.append(f"{file} cannot be read: {why} @ {path}.file")
    return None
