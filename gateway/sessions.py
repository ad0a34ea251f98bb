"""Whose conversation a request belongs to, and the cookie that says so."""

import hashlib
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from functools import lru_cache

from attrs import frozen
from itsdangerous import BadData, Signer

from gateway import config
from gateway.codec import decode, encode
from gateway.core import Json, Session
from gateway.errors import BadRequest
from gateway.ids import new_id

KNOWN = 4096
"""Cookies that are not signed anew for clients that do not send them back."""
_VALID = re.compile(r"[\x21-\x7e]{1,256}")


@frozen
class Identities:
    """
    Finds the session of a request.

    Its id comes from the path, else a header, else the cookie, else ``prompt_cache_key``,
    else it is new. The replicas in the cookie count only for the session that it names.
    """

    headers: tuple[str, ...]
    cookie: str
    _signer: Signer

    @classmethod
    def of(cls, options: config.Sessions, old: "Identities | None" = None) -> "Identities":
        """Without a secret it is the old one's, so that its cookies count, or a new one."""
        if options.secret is None and old is not None:
            return cls(options.headers, options.cookie, old._signer)
        secret = options.secret or secrets.token_hex(32)
        return cls(options.headers, options.cookie, _signer(secret))

    def identify(
        self, path: str | None, headers: Mapping[str, str], cookies: Mapping[str, str], body: Json
    ) -> Session:
        """The session; raises BadRequest for an id that could not stand in a header."""
        cookie = cookies.get(self.cookie)
        known = self.read(cookie) if cookie else None
        stated = self._stated(path, headers)
        if stated is None:
            return known or self._from_body(body)
        pins = known.pins if known is not None and known.id == stated.id else stated.pins
        return Session(stated.id, stated.source, pins)

    def read(self, cookie: str) -> Session | None:
        """The session in a cookie of ours; None for any other."""
        try:
            session_id, pins = decode(urlsafe_b64decode(self._signer.unsign(cookie) + b"=="))
        except (BadData, TypeError, ValueError):
            return None
        return Session(session_id, "cookie", pins)

    def write(self, session: Session) -> str:
        """The cookie's value; the same for the same session and replicas."""
        return _written(self._signer, session.id, tuple(sorted(session.pins.items())))

    def _stated(self, path: str | None, headers: Mapping[str, str]) -> Session | None:
        if path is not None:
            return Session(_checked(path, "the session id in the path"), "path")
        for name in self.headers:
            if name in headers:
                return Session(_checked(headers[name], name), "header")
        return None

    @staticmethod
    def _from_body(body: Json) -> Session:
        key = body.get("prompt_cache_key")
        if not isinstance(key, str) or not key:
            return Session(new_id())
        if not _VALID.fullmatch(key):
            key = hashlib.sha256(key.encode()).hexdigest()
        return Session(key, "prompt_cache_key")


@lru_cache(KNOWN)
def _written(signer: Signer, id: str, pins: tuple[tuple[str, str], ...]) -> str:
    told = urlsafe_b64encode(encode([id, dict(pins)]))
    return signer.sign(told.rstrip(b"=")).decode()


def _signer(secret: str) -> Signer:
    """With a key that is derived once, not for every cookie."""
    key = Signer(secret, salt="gym-gateway.session", digest_method=hashlib.sha256).derive_key()
    return Signer(key, key_derivation="none", digest_method=hashlib.sha256)


def _checked(value: str, what: str) -> str:
    if not _VALID.fullmatch(value):
        raise BadRequest(f"{what} must be 1 to 256 visible ASCII characters", param=what)
    return value
