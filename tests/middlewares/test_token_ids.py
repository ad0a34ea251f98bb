"""Token ids and log probabilities for training; numbers are those of the behaviour checklist."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve

from gateway.chat_request import tokenize_body
from gateway.chunks import as_chunk, fold
from gateway.core import Call, Chunk, Json, Reply
from gateway.errors import BadRequest, GatewayError, UpstreamError
from middlewares.token_ids import MANY, TokenIds
from tests import plausible, recorded
from tests.calls import USER, Replica, call, chunk, collect, message, sent
from tests.fake_vllm import CHAT, Complete, FakeVllm, Gate, Hang, Recorded, Status, events
from tests.plausible import END, TEXT, tokens
from tests.serving import HELLO, model, serving

BUNDLE = {
    "prompt_token_ids": [1, 2],
    "generation_token_ids": [3, 4],
    "generation_log_probs": [-0.5, -0.25],
}
WITH_ARRAYS = [
    name
    for name in recorded.chats()
    if recorded.reply(name).get("prompt_token_ids")
    and [bool(c["logprobs"] and c["token_ids"]) for c in recorded.reply(name)["choices"]] == [True]
]
IDS = [*tokens(TEXT), END]


def chunks_of(name: str) -> list[Chunk]:
    return recorded.chunks(name) if recorded.streamed(name) else [as_chunk(recorded.reply(name))]


def entries(*tokens: str, start: float = -0.5) -> Json:
    """Log probabilities of these tokens: -0.5, -1.0, and so on."""
    return {"content": [{"token": t, "logprob": start * (i + 1)} for i, t in enumerate(tokens)]}


def whole(prompt: list[int] | None = None, delta: Json | None = None, **choice: Any) -> Chunk:
    """A complete reply of two tokens, with inline ids unless told otherwise."""
    fields = {"token_ids": [3, 4], "logprobs": entries("a", "b"), "finish_reason": "stop", **choice}
    made = chunk(delta or {"role": "assistant", "content": "ab"}, **fields)
    return {**made, "prompt_token_ids": [1, 2] if prompt is None else prompt}


def inline(reply: Json) -> Json:
    """The bundle that the arrays of a reply of vLLM make."""
    [choice] = reply["choices"]
    return {
        "prompt_token_ids": reply["prompt_token_ids"],
        "generation_token_ids": choice["token_ids"],
        "generation_log_probs": [entry["logprob"] for entry in choice["logprobs"]["content"]],
    }


def without_logprobs(item: Chunk) -> Chunk:
    return {**item, "choices": [{**choice, "logprobs": None} for choice in item["choices"]]}


async def failure(*chunks: Chunk, **body: Any) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await message(TokenIds(), call(**body), *chunks)
    assert caught.value.status == 502
    return caught.value


async def test_the_engine_is_asked_for_ids_and_log_probabilities() -> None:
    """75, 76."""
    replica = Replica([whole()])
    await collect(TokenIds(), call(logprobs=False), replica)
    assert replica.body == {"messages": [USER], "logprobs": True, "return_token_ids": True}


async def test_the_clients_top_logprobs_stay() -> None:
    """75, fix."""
    replica = Replica([whole()])
    await collect(TokenIds(), call(logprobs=True, top_logprobs=3), replica)
    assert replica.body["top_logprobs"] == 3


@pytest.mark.parametrize("name", WITH_ARRAYS)
async def test_recorded_arrays_are_on_the_message_whole(name: str) -> None:
    """82."""
    got = await message(TokenIds(), call(), *chunks_of(name))
    assert {key: got[key] for key in BUNDLE} == inline(recorded.reply(name))


@pytest.mark.parametrize("name", [n for n in WITH_ARRAYS if recorded.streamed(n)])
async def test_streamed_they_are_on_the_delta_with_the_finish_reason_and_no_other(
    name: str,
) -> None:
    got = await collect(TokenIds(), call(), Replica(recorded.chunks(name)))
    carriers = [
        c["choices"][0]["finish_reason"]
        for c in got
        if c["choices"] and BUNDLE.keys() & c["choices"][0]["delta"].keys()
    ]
    assert carriers == [recorded.reply(name)["choices"][0]["finish_reason"]]


async def test_what_the_client_did_not_ask_for_is_taken_out() -> None:
    """82."""
    [got] = await collect(TokenIds(), call(), Replica([whole()]))
    [choice] = got["choices"]
    assert (got["prompt_token_ids"], choice["token_ids"], choice["logprobs"]) == (None, None, None)


async def test_what_the_client_asked_for_stays() -> None:
    [got] = await collect(
        TokenIds(), call(logprobs=True, return_token_ids=True), Replica([whole()])
    )
    [choice] = got["choices"]
    assert (got["prompt_token_ids"], choice["token_ids"]) == ([1, 2], [3, 4])
    assert choice["logprobs"] == entries("a", "b")


async def test_routed_experts_move_onto_the_message_as_they_are() -> None:
    """87."""
    [got] = await collect(
        TokenIds(), call(), Replica([whole(routed_experts="nrlre1:uint8:1x1x1:AA==")])
    )
    [choice] = got["choices"]
    assert choice["delta"]["routed_experts"] == "nrlre1:uint8:1x1x1:AA=="
    assert choice["routed_experts"] is None


async def test_an_engine_without_routed_experts_makes_no_such_field() -> None:
    assert "routed_experts" not in await message(TokenIds(), call(), whole(routed_experts=None))


async def test_an_empty_generation_has_empty_arrays() -> None:
    """86."""
    got = await message(TokenIds(), call(), whole(token_ids=[], logprobs=entries()))
    assert (got["generation_token_ids"], got["generation_log_probs"]) == ([], [])


async def test_an_end_of_sequence_belongs_to_the_generation() -> None:
    reply = recorded.reply("chat-eos-token-ids")
    got = await message(TokenIds(), call(), *chunks_of("chat-eos-token-ids"))
    assert got["generation_token_ids"][-1] == reply["choices"][0]["token_ids"][-1]
    assert len(got["generation_token_ids"]) == reply["usage"]["completion_tokens"]


@pytest.mark.parametrize("delta", [BUNDLE, {**BUNDLE, "content": "ab"}])
async def test_arrays_that_the_engine_put_on_the_message_are_taken_at_its_word(
    delta: Json,
) -> None:
    """78."""
    made = {**whole(delta=delta, token_ids=None, logprobs=None), "prompt_token_ids": None}
    assert await message(TokenIds(), call(), made) == delta


async def test_arrays_on_an_earlier_delta_move_to_the_one_with_the_finish_reason() -> None:
    first, last = chunk({"role": "assistant", **BUNDLE}), chunk({}, finish_reason="stop")
    got = await collect(TokenIds(), call(), Replica([first, chunk({"content": "ab"}), last]))
    deltas = [c["choices"][0]["delta"] for c in got]
    assert deltas == [{"role": "assistant"}, {"content": "ab"}, BUNDLE]


async def test_an_engine_that_puts_them_on_the_message_is_asked_once() -> None:
    """78."""
    replica = Replica([whole(delta=BUNDLE, token_ids=None, logprobs=None)])
    await collect(TokenIds(), call(), replica)
    assert len(replica.calls) == 1


async def test_routed_experts_beside_arrays_on_the_message_join_them() -> None:
    made = whole(delta=BUNDLE, token_ids=None, logprobs=None, routed_experts="e")
    assert await message(TokenIds(), call(), made) == {**BUNDLE, "routed_experts": "e"}


async def test_two_sources_that_disagree_are_a_502() -> None:
    """79."""
    error = await failure(whole(delta={**BUNDLE, "generation_token_ids": [3, 5]}))
    assert error.message == "the replica gives two different generation_token_ids"
    error = await failure(whole(delta={**BUNDLE, "prompt_token_ids": [9]}))
    assert error.message == "the replica gives two different prompt_token_ids"


@pytest.mark.parametrize("key", BUNDLE)
async def test_an_incomplete_bundle_on_the_message_is_a_502(key: str) -> None:
    """79."""
    delta = {k: v for k, v in BUNDLE.items() if k != key}
    error = await failure(whole(delta=delta, token_ids=None, logprobs=None))
    assert error.message == f"the replica's answer has no {key}"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"token_ids": None}, "the replica's answer has no generation_token_ids"),
        ({"logprobs": None}, "the replica gave 2 token ids but 0 log probabilities"),
        ({"logprobs": entries("a")}, "the replica gave 2 token ids but 1 log probabilities"),
        ({"token_ids": [3]}, "the replica gave 1 token ids but 2 log probabilities"),
        *(
            (
                {"logprobs": {"content": [{"token": "a", "logprob": odd}] * 2}},
                "the replica gave a token without a log probability",
            )
            for odd in (None, "-0.5", [-0.5])
        ),
        (
            {"logprobs": {"content": ["a", "b"]}},
            "the replica's log probabilities are of another shape",
        ),
    ],
)
async def test_missing_and_unequal_arrays_are_a_502(choice: Json, message: str) -> None:
    """79, 80."""
    assert (await failure(whole(**choice))).message == message


@pytest.mark.parametrize(("count", "turn"), [(MANY, False), (MANY + 1, True)])
async def test_other_calls_get_their_turn_when_many_tokens_were_read(
    count: int, turn: bool
) -> None:
    turns: list[bool] = []
    asyncio.get_running_loop().call_soon(turns.append, True)
    made = whole(token_ids=[3] * count, logprobs=entries(*["a"] * count))
    await message(TokenIds(), call(), made)
    assert bool(turns) is turn


async def test_a_stream_without_a_finish_reason_is_a_502() -> None:
    error = await failure(whole(finish_reason=None))
    assert error.message == "the replica sent no finish reason, so its token ids are not whole"


@pytest.mark.parametrize("n", [2, 128])
async def test_more_than_one_choice_is_refused_before_the_engine_is_called(n: int) -> None:
    """85."""
    replica = Replica([whole()])
    with pytest.raises(BadRequest, match="n must be 1 while token ids are collected") as caught:
        await collect(TokenIds(), call(n=n), replica)
    assert (caught.value.param, replica.calls) == ("n", [])


async def test_ids_in_the_history_stay_on_the_messages() -> None:
    """83."""
    answer = {"role": "assistant", "content": "ab", **BUNDLE, "routed_experts": "e"}
    replica = Replica([whole()])
    await collect(TokenIds(), call(USER, answer, USER), replica)
    assert replica.body["messages"] == [USER, answer, USER]


@pytest.mark.parametrize(
    ("arrays", "missing", "there"),
    [
        ({"prompt_token_ids": [1]}, "generation_token_ids", "prompt_token_ids"),
        (
            {"prompt_token_ids": [1], "generation_token_ids": [2]},
            "generation_log_probs",
            "prompt_token_ids",
        ),
        ({"routed_experts": "e"}, "prompt_token_ids", "routed_experts"),
    ],
)
async def test_a_message_of_the_history_has_all_arrays_or_none(
    arrays: Json, missing: str, there: str
) -> None:
    """79."""
    with pytest.raises(BadRequest) as caught:
        await sent(TokenIds(), call(USER, {"role": "assistant", **arrays}))
    assert caught.value.message == f"messages[1].{missing} is required beside {there}"
    assert caught.value.param == f"messages[1].{missing}"


async def test_a_silent_call_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    rule = TokenIds()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            await collect(rule, call(temperature=1.0), Replica([whole()]))
    assert caplog.messages == [
        "model policy: a call set no top_p; the engine takes the model's own default for it "
        "(generation_config.json), unless it runs with --generation-config vllm"
    ]


async def test_a_call_that_says_how_to_sample_is_not_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await collect(TokenIds(), call(temperature=1.0, top_p=1.0), Replica([whole()]))
    assert caplog.messages == []


async def test_reasoning_that_the_client_wants_hidden_is_hidden_here() -> None:
    replica = Replica([whole(delta={"reasoning": "R", "reasoning_content": "R", "content": "A"})])
    [got] = await collect(TokenIds(), call(include_reasoning=False), replica)
    assert "include_reasoning" not in replica.body
    assert got["choices"][0]["delta"] == {
        "content": "A",
        **BUNDLE,
        "generation_log_probs": [-0.5, -1.0],
    }


async def test_neither_the_call_nor_the_engines_chunks_are_changed() -> None:
    made, a_call = whole(delta={"content": "ab", **BUNDLE}), call()
    await collect(TokenIds(), a_call, Replica([made]))
    assert made["choices"][0]["delta"] == {"content": "ab", **BUNDLE}
    assert (made["prompt_token_ids"], made["choices"][0]["token_ids"]) == ([1, 2], [3, 4])
    assert a_call.body == {"messages": [USER]}


async def test_an_empty_reply_stays_empty() -> None:
    assert await collect(TokenIds(), call(), Replica([])) == []


async def test_a_reply_that_is_dropped_for_one_with_spelt_ids_is_ended() -> None:
    ended = []

    async def handler(a_call: Call) -> Reply:
        async def aclose() -> None:
            ended.append(a_call.body.get("return_tokens_as_token_ids"))

        return evolve(Reply.of(chunk({"role": "assistant"})), aclose=aclose)

    reply = await TokenIds()(call(), handler)
    assert ended == [None]
    await reply.aclose()
    assert ended == [None, True]


async def test_a_reply_whose_first_chunk_is_an_error_is_ended() -> None:
    ended = []

    async def handler(_: Call) -> Reply:
        async def aclose() -> None:
            ended.append(True)

        async def broken(chunks: Any) -> Any:
            raise UpstreamError("boom")
            yield

        return evolve(Reply.of(), aclose=aclose).through(broken)

    with pytest.raises(UpstreamError, match="boom"):
        await TokenIds()(call(), handler)
    assert ended == [True]


async def ask(client: Any, session: str = "s", **body: Any) -> Any:
    """One call of a session."""
    return await client.post({**HELLO, **body}, headers={"X-Session-ID": session})


def asked_spelt(fake: FakeVllm) -> list[bool]:
    """For each chat call of the replica, whether it was asked to spell tokens as ids."""
    chats = [request for request in fake.requests if request.path == CHAT]
    return [request.body.get("return_tokens_as_token_ids") is True for request in chats]


def said(answer: Any) -> Json:
    """The message of an answer, complete or streamed."""
    streamed = "text/event-stream" in answer.headers["Content-Type"]
    reply = fold(answer.events[:-1]) if streamed else answer.json
    message: Json = reply["choices"][0]["message"]
    return message


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("inline_ids", [False, True])
async def test_a_client_gets_the_arrays_from_old_engines_and_new(
    inline_ids: bool, stream: bool
) -> None:
    """78, 17."""
    async with FakeVllm(inline_ids=inline_ids) as fake:
        async with serving(fake, return_token_id_information=True) as client:
            answer = await client.post({**HELLO, "stream": stream})
    got = said(answer)
    assert got["prompt_token_ids"] == plausible.prompt_ids({**HELLO, "model": "fake-model"})
    assert got["generation_token_ids"] == IDS
    assert got["generation_log_probs"] == [-i / 1000 for i in IDS]
    assert got["content"] == TEXT


async def test_an_engine_with_inline_ids_is_never_asked_to_spell_them(fake: FakeVllm) -> None:
    """78."""
    async with serving(fake, return_token_id_information=True) as client:
        await ask(client)
        await ask(client)
    assert asked_spelt(fake) == [False, False]
    assert {request.path for request in fake.requests} == {CHAT}


async def test_what_an_old_engine_cannot_do_is_found_out_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with FakeVllm(inline_ids=False) as fake:
        async with serving(fake, return_token_id_information=True) as client:
            await ask(client, "a")
            await ask(client, "b")
    assert asked_spelt(fake) == [False, True, True]
    assert len([m for m in caplog.messages if "gives no token ids" in m]) == 1


async def test_tokenize_is_asked_the_question_that_the_generation_answered() -> None:
    """81."""
    request = {
        "messages": [USER],
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "chat_template_kwargs": {"a": 1},
        "reasoning_effort": "low",
        "temperature": 1.0,
        "top_p": 1.0,
    }
    async with FakeVllm(inline_ids=False) as fake:
        async with serving(fake, return_token_id_information=True) as client:
            await client.post(request)
    *_, chat, tokenize = fake.requests
    assert tokenize.path == "/tokenize"
    assert tokenize.body == tokenize_body(chat.body)


@pytest.mark.parametrize("stream", [False, True])
async def test_replicas_of_different_kinds_are_each_asked_in_their_way(stream: bool) -> None:
    """17."""
    async with FakeVllm(inline_ids=False) as old, FakeVllm() as new:
        async with serving(old, new, return_token_id_information=True) as client:
            for session in ("a", "b", "a", "b"):
                answer = await ask(client, session, stream=stream)
                assert said(answer)["generation_token_ids"] == IDS
    assert (asked_spelt(old), asked_spelt(new)) == ([False, True, True], [False, False])
    assert [r.path for r in old.requests].count("/tokenize") == 2


async def test_a_session_that_moves_from_an_old_engine_to_a_new_one_gets_its_ids() -> None:
    async with FakeVllm(inline_ids=False) as old, FakeVllm() as new:
        async with serving(old, new, return_token_id_information=True) as client:
            await ask(client, "a")
            await old.stop()
            answer = await ask(client, "a")
            await ask(client, "a")
    assert answer.message["generation_token_ids"] == IDS
    assert {request.path for request in new.requests} == {CHAT}
    assert asked_spelt(new)[-1] is False


async def test_a_session_that_moves_from_a_new_engine_to_an_old_one_gets_its_ids() -> None:
    async with FakeVllm() as new, FakeVllm(inline_ids=False) as old:
        async with serving(new, old, return_token_id_information=True) as client:
            await ask(client, "a")
            await new.stop()
            answer = await ask(client, "a")
    assert answer.message["generation_token_ids"] == IDS
    assert asked_spelt(old) == [False, True]


async def test_an_engine_that_was_renewed_is_not_asked_to_spell_any_longer() -> None:
    async with FakeVllm(inline_ids=False) as fake:
        async with serving(fake, return_token_id_information=True) as client:
            await ask(client)
            fake.inline_ids = True
            await ask(client)
            await ask(client)
    assert asked_spelt(fake) == [False, True, True, False]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tokenize_that_fails_is_a_502_that_says_so(stream: bool) -> None:
    async with FakeVllm(inline_ids=False) as fake:
        fake.script(Status(404, {"detail": "Not Found"}), path="/tokenize")
        async with serving(fake, return_token_id_information=True) as client:
            answer = await client.post({**HELLO, "stream": stream})
    error = answer.events[-2]["error"] if stream else answer.error
    assert answer.status == (200 if stream else 502)
    assert error["message"] == "the replica's /tokenize failed with 404: Not Found"


async def test_a_tokenize_without_tokens_is_a_502() -> None:
    async with FakeVllm(inline_ids=False) as fake:
        fake.script(Status(200, {"count": 3}), path="/tokenize")
        async with serving(fake, return_token_id_information=True) as client:
            answer = await client.post()
    assert answer.status == 502
    assert answer.error["message"] == "the replica's answer has no prompt_token_ids"


async def test_a_token_that_is_not_spelt_as_an_id_is_a_502() -> None:
    """80."""
    async with FakeVllm(inline_ids=False) as fake:
        reply = plausible.reply(choice={"logprobs": entries("token_id:3", "Hi")})
        fake.script(Complete(reply), Complete(reply))
        async with serving(fake, return_token_id_information=True) as client:
            answer = await client.post()
    assert answer.status == 502
    assert answer.error["message"] == "the replica gives no token ids: it spelt one as 'Hi'"


async def test_missing_arrays_in_a_stream_are_an_error_event(fake: FakeVllm) -> None:
    """79."""
    first, *rest = recorded.chunks("chat-logprobs-token-ids-stream")
    fake.script(events(first, *(without_logprobs(item) for item in rest)))
    async with serving(fake, return_token_id_information=True) as client:
        answer = await client.post({**HELLO, "stream": True})
    assert answer.status == 200
    assert answer.events[-2]["error"]["message"] == (
        "the replica gave 8 token ids but 0 log probabilities"
    )


@pytest.mark.parametrize("where", [{"n": 2}, {"metadata": {"extra_body": '{"n": 2}'}}])
async def test_n_above_one_is_a_400_wherever_it_comes_from(fake: FakeVllm, where: Json) -> None:
    """85."""
    async with serving(fake, return_token_id_information=True) as client:
        answer = await client.post({**HELLO, **where})
    assert (answer.status, answer.error["param"], fake.requests) == (400, "n", [])


async def test_a_configured_n_above_one_is_refused_too(fake: FakeVllm) -> None:
    """85."""
    async with serving(fake, return_token_id_information=True, extra_body={"n": 2}) as client:
        answer = await client.post()
    assert (answer.status, fake.requests) == (400, [])


async def test_an_overflow_has_no_bundle(fake: FakeVllm) -> None:
    """88."""
    fake.script(Recorded("err-prompt-too-long"))
    async with serving(fake, return_token_id_information=True) as client:
        answer = await client.post()
    assert answer.message == {"role": "assistant", "content": None}


@pytest.mark.parametrize("inline_ids", [False, True])
async def test_a_second_turn_sends_the_ids_of_the_first_back_to_the_engine(
    inline_ids: bool,
) -> None:
    """89."""
    async with FakeVllm(inline_ids=inline_ids) as fake:
        async with serving(fake, return_token_id_information=True) as client:
            first = await ask(client)
            messages: Sequence[Json] = [USER, first.message, USER]
            second = await ask(client, messages=messages)
    chats = [request for request in fake.requests if request.path == CHAT]
    assert chats[-1].body["messages"] == messages
    assert second.message["generation_token_ids"] == IDS


async def test_nobody_to_ask_is_an_error_of_the_gateway() -> None:
    with pytest.raises(GatewayError, match="nobody answers /tokenize"):
        await message(
            TokenIds(),
            call(),
            {**whole(token_ids=None, logprobs=entries("token_id:3")), "prompt_token_ids": None},
        )


async def test_a_client_that_hangs_up_in_mid_stream_ends_the_generation(fake: FakeVllm) -> None:
    first, second, *_ = recorded.chunks("chat-logprobs-token-ids-stream")
    fake.script(events(first, second, Gate(asyncio.Event())))
    options = {"return_token_id_information": True, "uses_reasoning_parser": True}
    async with serving(fake, models={"policy": model(fake, **options)}) as client:
        body = {**HELLO, "stream": True}
        async with client.http.post(client.url + CHAT, json=body) as response:
            await response.content.readline()
            response.close()
            await fake.client_left()


async def test_a_client_that_hangs_up_while_tokens_are_counted_ends_that_too() -> None:
    async with FakeVllm(inline_ids=False) as fake:
        fake.script(Hang(), path="/tokenize")
        async with serving(fake, return_token_id_information=True) as client:
            waiting = asyncio.create_task(client.post())
            await fake.received(3)
            waiting.cancel()
            await fake.client_left(3)
    assert [request.path for request in fake.requests] == [CHAT, CHAT, "/tokenize"]


async def test_a_stream_that_is_asked_for_again_is_ended_on_the_replica() -> None:
    async with FakeVllm(inline_ids=False) as fake:
        fake.script(events(chunk({"role": "assistant"}), Gate(asyncio.Event())))
        async with serving(fake, return_token_id_information=True) as client:
            answer = await client.post({**HELLO, "stream": True})
            await fake.client_left(1)
    assert said(answer)["generation_token_ids"] == IDS
