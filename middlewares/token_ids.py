"""Token ids and log probabilities for training, on the message itself."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence, Set
from typing import Any

from attrs import define, field, frozen

from gateway.arrays import length, opened
from gateway.chat_request import tokenize_body
from gateway.chunks import (
    ARRAYS,
    BUNDLE,
    REASONING,
    joined,
    lacks_arrays,
    log_probs,
    prompt_token_ids,
    token_entries,
    token_ids,
)
from gateway.codec import Raw
from gateway.core import Call, Chunk, Handler, Json, Once, Reply
from gateway.errors import BadRequest, UpstreamError

logger = logging.getLogger(__name__)

MANY = 4096
"""Tokens that come at once, from which on other calls get their turn in between."""


@frozen
class TokenIds:
    """
    Put what was sampled on the message: the ids of the prompt, and of the generated tokens
    with their log probabilities (natural logarithm, one each).

    Asks the engine for ``return_token_ids`` and ``logprobs``, and puts
    ``prompt_token_ids``, ``generation_token_ids``, ``generation_log_probs`` and, where there
    are any, ``routed_experts`` on the delta that carries the finish reason, whole. What the
    client asked for itself stays in the reply too. An engine that gives no ids (vLLM before
    0.10.2) is asked for tokens spelt as ids, and for the prompt's at ``/tokenize``; that is
    found out with the first call, which is then made again, and remembered per replica until
    it does give ids. An engine that puts the arrays on the message itself (NeMo RL's) is taken
    at its word, and its arrays are moved to the same delta.

    Missing arrays, and unequal ones, are a 502, and so is a ``/tokenize`` that fails. A message
    of the history has all three arrays or none. ``n`` above 1 is refused.
    """

    _spelt: set[str | None] = field(factory=set, init=False)
    """The replicas that know no inline ids."""
    _once: Once = field(factory=lambda: Once(logger), init=False)

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        _refuse(call.body)
        self._warn_of_defaults(call)
        asked = call.replica in self._spelt
        reply, first = await _begin(handler, _asking(call, spelt=asked))
        if not asked and _lacks_ids(first):
            await reply.aclose()
            self._remember(reply.replica)
            reply, first = await _begin(handler, _asking(call, spelt=True))
        spelt = _lacks_ids(first)
        if not spelt:
            self._spelt.discard(reply.replica)
        return reply.through(_Capture(call, reply.replica, spelt, first).transform)

    def _remember(self, replica: str | None) -> None:
        self._spelt.add(replica)
        self._once(
            f"spelt {replica}",
            "replica %s gives no token ids; they are read off its tokens and from /tokenize",
            replica,
        )

    def _warn_of_defaults(self, call: Call) -> None:
        silent = [k for k in ("temperature", "top_p") if k not in call.body]
        if silent:
            self._once(
                call.model,
                "model %s: a call set no %s; the engine takes the model's own default for it "
                "(generation_config.json), unless it runs with --generation-config vllm",
                call.model,
                " and no ".join(silent),
            )


def _refuse(body: Json) -> None:
    if body.get("n", 1) > 1:
        raise BadRequest("n must be 1 while token ids are collected", param="n")
    for i, message in enumerate(body["messages"]):
        if lacks_arrays(message):
            continue
        there = [key for key in ARRAYS if message.get(key) is not None]
        missing = [key for key in BUNDLE if key not in there]
        if there and missing:
            path = f"messages[{i}].{missing[0]}"
            raise BadRequest(f"{path} is required beside {there[0]}", param=path)


def _asking(call: Call, spelt: bool) -> Call:
    """
    The call with what makes the engine tell.

    ``include_reasoning: false`` would make vLLM leave the ids out, so the reasoning is
    dropped here instead. ``return_tokens_as_token_ids`` replaces the text of the tokens, so
    it is for engines that know nothing better.
    """
    more = {"return_tokens_as_token_ids": True} if spelt else {}
    asking = call.replace(logprobs=True, return_token_ids=True, **more)
    return asking.without("include_reasoning")


async def _begin(handler: Handler, call: Call) -> tuple[Reply, Chunk | None]:
    """The reply and its first chunk, which shows what the engine gives."""
    reply = await handler(call)
    try:
        return reply, await anext(reply.chunks, None)
    except BaseException:
        await reply.aclose()
        raise


def _lacks_ids(first: Chunk | None) -> bool:
    if first is None or prompt_token_ids(first) is not None:
        return False
    return all(choice["delta"].get(BUNDLE[1]) is None for choice in first["choices"])


@define
class _Capture:
    """The arrays of one reply, gathered as they pass."""

    call: Call
    replica: str | None
    spelt: bool
    first: Chunk | None
    prompt: list[int] | Raw | None = None
    ids: list[list[int] | Raw] = field(factory=list)
    log_probs: list[list[float | None]] = field(factory=list)
    entries: list[list[Json]] = field(factory=list)
    """The tokens with their spelling, where the ids are read off it."""
    given: Json = field(factory=dict)
    """What the engine itself put on the message."""
    done: bool = False
    _unasked: Sequence[str] = field(init=False)
    """The arrays of a choice that the client did not ask for."""
    _hidden: Set[str] = field(init=False)
    """The fields of a delta that it does not get, or not there."""

    def __attrs_post_init__(self) -> None:
        body = self.call.body
        asked = {"logprobs": body.get("logprobs"), "token_ids": body.get("return_token_ids")}
        self._unasked = [name for name, wanted in asked.items() if not wanted]
        untold = REASONING if body.get("include_reasoning") is False else ()
        self._hidden = {*ARRAYS, *untold}

    async def transform(self, chunks: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
        if self.first is None:
            return
        yield await self._passed(self.first)
        self.first = None
        async for chunk in chunks:
            yield await self._passed(chunk)
        if not self.done:
            raise UpstreamError("the replica sent no finish reason, so its token ids are not whole")

    async def _passed(self, chunk: Chunk) -> Chunk:
        if self.prompt is None:
            self.prompt = prompt_token_ids(chunk)
        choices = [await self._choice(choice) for choice in chunk["choices"]]
        chunk = {**chunk, "choices": choices}
        if "prompt_token_ids" in chunk and "token_ids" in self._unasked:
            chunk["prompt_token_ids"] = None
        return chunk

    async def _choice(self, choice: Json) -> Json:
        if self._gather(choice) > MANY:
            await asyncio.sleep(0)  # to read them took milliseconds, and so will writing them
        choice = {**choice, "delta": self._told(choice["delta"])}
        if choice.get("finish_reason") and not self.done:
            self.done = True
            choice["delta"] = choice["delta"] | await self._bundle(choice.get("routed_experts"))
            if "routed_experts" in choice:
                choice["routed_experts"] = None
        for name in self._unasked:
            if name in choice:
                choice[name] = None
        return choice

    def _gather(self, choice: Json) -> int:
        """How many tokens were read."""
        if (ids := token_ids(choice)) is not None:
            self.ids.append(ids)
        if (values := log_probs(choice)) is not None:
            self.log_probs.append(values)
        if self.spelt and (entries := token_entries(choice)) is not None:
            self.entries.append(entries)
        return len(values or ())

    def _told(self, delta: Json) -> Json:
        if self._hidden.isdisjoint(delta):
            return delta
        self.given |= {k: delta[k] for k in ARRAYS if delta.get(k) is not None}
        return {k: v for k, v in delta.items() if k not in self._hidden}

    async def _bundle(self, experts: Any) -> Json:
        bundle = self.given if any(k in self.given for k in BUNDLE) else await self._gathered()
        for key, inline in zip(BUNDLE, (self.prompt, _whole(self.ids)), strict=False):
            given = bundle.get(key, inline)
            if inline is not None and given is not inline and opened(given) != opened(inline):
                raise UpstreamError(f"the replica gives two different {key}")
        return _checked(bundle if experts is None else {"routed_experts": experts, **bundle})

    async def _gathered(self) -> Json:
        if self.spelt:
            self.ids = [[_spelt_id(entry) for entry in _whole(self.entries) or []]]
            self.prompt = await self._tokenized()
        arrays = (self.prompt, _whole(self.ids), _whole(self.log_probs) or [])
        return dict(zip(BUNDLE, arrays, strict=True)) | self.given

    async def _tokenized(self) -> Any:
        try:
            body = tokenize_body(self.call.body)
            return (await self.call.ask("/tokenize", body, self.replica)).get("tokens")
        except UpstreamError as error:
            raise UpstreamError(
                f"the replica's /tokenize failed with {error.status}: {error.message}"
            ) from error


def _whole(pieces: list[Any]) -> Any:
    """One array of all pieces; None where there were none."""
    return joined(pieces) if pieces else None


def _spelt_id(entry: Json) -> int:
    token = str(entry.get("token"))
    if not token.startswith("token_id:") or not token[9:].isdigit():
        raise UpstreamError(f"the replica gives no token ids: it spelt one as {token!r}")
    return int(token[9:])


def _checked(bundle: Json) -> Json:
    missing = [key for key in BUNDLE if not isinstance(bundle.get(key), list | Raw)]
    if missing:
        raise UpstreamError(f"the replica's answer has no {missing[0]}")
    ids, log_probs = bundle["generation_token_ids"], bundle["generation_log_probs"]
    if length(ids) != length(log_probs):
        raise UpstreamError(
            f"the replica gave {length(ids)} token ids but {length(log_probs)} log probabilities"
        )
    if not _are_numbers(opened(log_probs)):
        raise UpstreamError("the replica gave a token without a log probability")
    return bundle


def _are_numbers(values: list[Any]) -> bool:
    try:
        sum(values)  # which tells it four times faster than a search for null
    except TypeError:
        return False
    return True
