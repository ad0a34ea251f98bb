"""Context overflow as a normal end; numbers are those of the behaviour checklist."""

from typing import Any

import pytest

from gateway.chunks import fold
from gateway.core import Json, Reply
from gateway.errors import BadRequest, NoReplica, UpstreamError
from middlewares.length_error import LengthError
from tests import recorded
from tests.calls import Replica, call, collect, texts
from tests.fake_vllm import FakeVllm, Recorded, Status
from tests.plausible import error as error_body
from tests.serving import HELLO, serving

TOO_LONG = [
    "err-prompt-too-long",
    "err-prompt-too-long-stream",
    "err-prompt-too-long-no-max-tokens",
]
OVERFLOW = UpstreamError(
    "This model's maximum context length is 2048 tokens. However, your prompt contains at least "
    "2049 input tokens, which exceeds this limit even without any output tokens.",
    status=400,
    param="input_tokens",
    code=400,
    replica="replica-1",
    attempts=2,
)


def refusal(message: str, param: str | None = None, status: int = 400) -> UpstreamError:
    return UpstreamError(message, status=status, param=param)


async def empty(error: UpstreamError = OVERFLOW, **body: Any) -> Json:
    """The reply that stands for an overflow."""
    return fold(await collect(LengthError(), call(**body), Replica(error=error)))


async def test_the_reply_is_empty_and_says_why() -> None:
    """67."""
    reply = await empty()
    assert reply["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": None},
            "logprobs": None,
            "finish_reason": "length",
            "stop_reason": "context_length_exceeded",
        }
    ]
    assert (reply["id"], reply["model"], reply["usage"]) == ("chatcmpl-call-1", "policy", None)


async def test_the_reply_carries_no_token_arrays() -> None:
    """88."""
    reply = await empty(return_token_ids=True, logprobs=True)
    assert "prompt_token_ids" not in reply
    assert not {"prompt_token_ids", "generation_token_ids"} & reply["choices"][0]["message"].keys()


@pytest.mark.parametrize(("n", "choices"), [(3, 3), (10**9, 128), (-1, 1), (None, 1)])
async def test_there_are_as_many_choices_as_asked_for_within_reason(
    n: int | None, choices: int
) -> None:
    assert len((await empty(n=n))["choices"]) == choices


async def test_the_reply_says_where_it_was_tried_and_is_marked_in_a_header() -> None:
    reply = await LengthError()(call(), Replica(error=OVERFLOW))
    assert (reply.replica, reply.attempts) == ("replica-1", 2)
    assert reply.headers == {"X-Gateway-Overflow": "1"}


async def test_propagated_it_is_a_400_with_the_engines_message_and_a_code() -> None:
    """72."""
    with pytest.raises(BadRequest) as caught:
        await LengthError(propagate=True)(call(), Replica(error=OVERFLOW))
    error = caught.value
    assert (error.status, error.code, error.param) == (
        400,
        "context_length_exceeded",
        "input_tokens",
    )
    assert (error.message, error.replica, error.attempts) == (OVERFLOW.message, "replica-1", 2)


@pytest.mark.parametrize("propagate", [True, False])
@pytest.mark.parametrize("error", [refusal("no"), NoReplica("none")])
async def test_any_other_error_passes(propagate: bool, error: Exception) -> None:
    """69."""
    with pytest.raises(type(error)) as caught:
        await LengthError(propagate)(call(), Replica(error=error))
    assert caught.value is error


async def test_a_reply_passes_untouched() -> None:
    reply = Reply.of(*texts("Hi"))

    async def handler(_: Any) -> Reply:
        return reply

    assert await LengthError()(call(), handler) is reply


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", TOO_LONG)
async def test_a_client_sees_a_normal_end(fake: FakeVllm, name: str, stream: bool) -> None:
    """67, 88."""
    fake.script(Recorded(name))
    async with serving(fake, return_token_id_information=True) as client:
        answer = await client.post({**HELLO, "stream": stream})
    assert (answer.status, answer.headers["X-Gateway-Overflow"]) == (200, "1")
    reply = fold(answer.events[:-1]) if stream else answer.json
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["choices"][0]["message"] == {"role": "assistant", "content": None}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_wants_the_error_gets_it(fake: FakeVllm, stream: bool) -> None:
    """72."""
    fake.script(Recorded("err-prompt-too-long"))
    async with serving(fake, propagate_context_overflow_errors=True) as client:
        answer = await client.post({**HELLO, "stream": stream})
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert answer.error["message"] == recorded.body("err-prompt-too-long")["error"]["message"]


@pytest.mark.parametrize("name", ["err-max-tokens-too-large", "err-max-tokens-too-large-stream"])
async def test_max_tokens_beyond_the_model_is_the_clients_400(fake: FakeVllm, name: str) -> None:
    """68."""
    fake.script(Recorded(name))
    async with serving(fake) as client:
        answer = await client.post(recorded.request(name))
    assert (answer.status, answer.json) == (400, recorded.body(name))


async def test_an_error_of_vllm_before_0_10_is_recognised_too(fake: FakeVllm) -> None:
    message = (
        "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens "
        "(112946 in the messages, 10000 in the completion). Please reduce the length of the "
        "messages or completion."
    )
    flat = error_body(400, message, "BadRequestError")["error"]
    fake.script(Status(400, {"object": "error", **flat}))
    async with serving(fake) as client:
        answer = await client.post(HELLO)
    assert answer.json["choices"][0]["stop_reason"] == "context_length_exceeded"
