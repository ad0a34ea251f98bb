"""Who may call: the API keys of the gateway's own clients."""

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Middleware
from attrs import field, frozen

from gateway.bearer import BEARER
from gateway.config import Config, KeyFile
from gateway.errors import ConfigError, Unauthorized
from gateway.transport import Next

PROBES = ("/", "/health", "/ready")
"""What load balancers ask for, without a key unless the configuration says otherwise."""


@frozen
class Access:
    """The keys that open the gateway; without any it is open to all who reach it."""

    digests: Mapping[str, bytes] = field(factory=dict, repr=False)
    """By the names of the keys."""
    open_paths: tuple[str, ...] = PROBES

    @classmethod
    def of(cls, config: Config) -> "Access":
        """Raises ConfigError for a key that cannot be read, is empty, or has two names."""
        faults: list[str] = []
        digests: dict[str, bytes] = {}
        for name, source in config.api_keys.items():
            digest = _digest(_read(name, source, faults))
            same = [other for other, known in digests.items() if known == digest]
            faults += [f"the same key as {other!r} @ api_keys.{name}" for other in same]
            digests[name] = digest
        if faults:
            raise ConfigError(faults)
        return cls(digests, () if config.health_needs_key else PROBES)

    def holder(self, headers: Mapping[str, str]) -> str:
        """
        The name of the key in these headers, ``Authorization: Bearer`` or ``x-api-key``.

        The comparison takes the same time for every key. Raises Unauthorized.
        """
        given = [*_given(headers)]
        if not given:
            raise Unauthorized("no API key: send it as Authorization: Bearer KEY, or as x-api-key")
        asked = [_digest(key) for key in given]
        found = [
            name
            for name, digest in self.digests.items()
            if any(hmac.compare_digest(digest, one) for one in asked)
        ]
        if not found:
            raise Unauthorized("the API key is not one of this gateway's")
        return found[0]


def middlewares(access: Access) -> list[Middleware]:
    """What lets requests with a key pass, and those that need none; nothing without keys."""

    @web.middleware
    async def allowed(request: web.Request, handler: Next) -> web.StreamResponse:
        if request.path not in access.open_paths:
            access.holder(request.headers)
        return await handler(request)

    return [allowed] if access.digests else []


def _given(headers: Mapping[str, str]) -> Iterator[str]:
    scheme = headers.get("Authorization", "")
    if scheme[: len(BEARER)].lower() == BEARER.lower():
        yield scheme[len(BEARER) :].strip()
    if "x-api-key" in headers:
        yield headers["x-api-key"].strip()


def _digest(key: str) -> bytes:
    """Of one length for all keys, so that a comparison tells nothing of them."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _read(name: str, source: str | KeyFile, faults: list[str]) -> str:
    text = source if isinstance(source, str) else _content(name, source.file, faults)
    if text is not None and not text.strip():
        faults.append(f"the key is empty @ api_keys.{name}")
    return (text or name).strip()


def _content(name: str, file: str, faults: list[str]) -> str | None:
    try:
        return Path(file).read_text()
    except OSError as error:
        why = error.strerror
    except UnicodeDecodeError:
        why = "it is not text"
    faults.append(f"{file} cannot be read: {why} @ api_keys.{name}.file")
    return None
