"""Which earlier call a retry repeats."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from attrs import define, field, frozen

from gateway.core import Session
from gateway.errors import BadRequest
from gateway.web.answer import Answer

REPLAY = 60.0
"""Seconds for which a completed answer is kept."""
BUDGET = 64 * 2**20
"""Bytes of answers that are kept; beyond that the oldest are forgotten."""
ENTRY = 1536
"""Bytes that an answer costs besides what it says."""
LONGEST_KEY = 256

Key = tuple[str, ...]


@frozen
class Fingerprint:
    """What tells whether a request repeats another."""

    session: str
    path: str
    body: str
    """A digest."""
    key: str | None = None
    """The ``Idempotency-Key``."""
    retry: bool = False
    """Whether the SDK says that it is one."""

    @classmethod
    def of(
        cls, session: Session, path: str, headers: Mapping[str, str], raw: bytes
    ) -> "Fingerprint | None":
        """None for a session that the client did not name; raises BadRequest for a wrong key."""
        if session.source == "new":
            return None
        key = headers.get("Idempotency-Key")
        if key is not None and not 0 < len(key) <= LONGEST_KEY:
            message = f"Idempotency-Key must be 1 to {LONGEST_KEY} characters"
            raise BadRequest(message, param="Idempotency-Key")
        retry = _is_retry(headers)
        return cls(session.id, path, hashlib.sha256(raw).hexdigest(), key, retry)


def may_repeat(headers: Mapping[str, str]) -> bool:
    """Whether these headers of a request say that there may be an earlier one."""
    return "Idempotency-Key" in headers or _is_retry(headers)


def _is_retry(headers: Mapping[str, str]) -> bool:
    return headers.get("x-stainless-retry-count", "0").strip() not in ("0", "")


@define(eq=False)
class Kept:
    """An answer that a retry may find."""

    fingerprint: Fingerprint
    answer: Answer
    lost: bool = False
    """Whether its client left before it had all of it."""
    anew: bool = False
    """Whether it came to nothing, cancelled or failed, so that its retry is a new call."""


@define(eq=False)
class Retries:
    """
    The answers that a retry may still ask for: those being made, and those of the last 60 s.

    A call repeats an earlier one of its session if it has that one's ``Idempotency-Key``
    (draft-ietf-httpapi-idempotency-key-header), or the same body and the word of an SDK
    (``x-stainless-retry-count``, of OpenAI's and Anthropic's). Such a retry is matched with a
    call whose client has left or that failed, if there is one, else with the latest. What was
    cancelled or failed is to be made anew, and is known until then, so that its retry is not
    given the answer to another call that was the same.
    """

    clock: Callable[[], float] = time.monotonic
    _kept: OrderedDict[Answer, Kept] = field(factory=OrderedDict, init=False)
    _by_body: dict[Key, list[Kept]] = field(factory=dict, init=False)
    _by_key: dict[Key, Kept] = field(factory=dict, init=False)
    _done: OrderedDict[Answer, float] = field(factory=OrderedDict, init=False)
    """When those that ended are forgotten, the next one first."""
    _spent: int = field(default=0, init=False)

    def find(self, asked: Fingerprint) -> Answer | None:
        """
        The answer that this request is to have, if it repeats one.

        Raises BadRequest for an ``Idempotency-Key`` that came with another body.
        """
        self._expire()
        kept = self._keyed(asked) if asked.key is not None else self._repeated(asked)
        if kept is None:
            return None
        if kept.anew:
            self.forget(kept.answer)
            return None
        kept.lost = False
        return kept.answer

    def familiarity(self, asked: Fingerprint) -> int:
        """
        How well the call is known that this request repeats.

        0: not at all, 1: it is known, 2: its client has left it, or its key came with another body.
        """
        self._expire()
        kept = self._by_key.get((asked.session, str(asked.key)))
        if asked.key is not None:
            return 0 if kept is None else 2
        kept = self._repeated(asked)
        return 0 if kept is None else 1 + kept.lost

    def _keyed(self, asked: Fingerprint) -> Kept | None:
        kept = self._by_key.get((asked.session, str(asked.key)))
        known = kept.fingerprint if kept is not None and not kept.anew else asked
        if (known.path, known.body) != (asked.path, asked.body):
            message = "this Idempotency-Key came with another request"
            raise BadRequest(message, status=422, param="Idempotency-Key")
        return kept

    def _repeated(self, asked: Fingerprint) -> Kept | None:
        alike = self._by_body.get(_body(asked), []) if asked.retry else []
        return next((kept for kept in alike if kept.lost), alike[-1] if alike else None)

    def keep(self, asked: Fingerprint, answer: Answer) -> None:
        """Remember the answer to this request."""
        kept = self._kept[answer] = Kept(asked, answer)
        self._by_body.setdefault(_body(asked), []).append(kept)
        if asked.key is not None:
            self._by_key[asked.session, asked.key] = kept
        answer.keep(self._grow)
        self._grow(ENTRY)

    def left(self, answer: Answer, *, cancelled: bool) -> None:
        """Its client went away before it had the whole; maybe it was ended for that."""
        if answer in self._kept:
            self._kept[answer].lost, self._kept[answer].anew = True, cancelled

    def done(self, answer: Answer) -> None:
        """It ended, well or cancelled: it counts for a while."""
        self._expire()
        if answer in self._kept:
            self._done[answer] = self.clock() + REPLAY

    def failed(self, answer: Answer) -> None:
        """It ended with an error, which no retry gets."""
        self.left(answer, cancelled=True)
        self.done(answer)

    def forget(self, answer: Answer) -> None:
        """No retry gets it."""
        kept = self._kept.pop(answer, None)
        if kept is None:
            return
        self._done.pop(answer, None)
        asked = kept.fingerprint
        alike = self._by_body[_body(asked)]
        alike.remove(kept)
        if not alike:
            del self._by_body[_body(asked)]
        if asked.key is not None and self._by_key.get((asked.session, asked.key)) is kept:
            del self._by_key[asked.session, asked.key]
        self._spent -= answer.size + ENTRY
        answer.let_go()

    def _grow(self, by: int) -> None:
        self._spent += by
        while self._spent > BUDGET:
            self.forget(next(iter(self._kept)))

    def _expire(self) -> None:
        now = self.clock()
        while self._done and next(iter(self._done.values())) <= now:
            self.forget(next(iter(self._done)))


def _body(asked: Fingerprint) -> Key:
    return asked.session, asked.path, asked.body
