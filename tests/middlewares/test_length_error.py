"""Context overflow as a normal end; numbers are those of the behaviour checklist."""

from typing import Any

import pytest

from gateway import codec
from gateway.chunks import fold
from gateway.core import Json, Reply
from gateway.errors import BadRequest, NoReplica, UpstreamError
from gateway.upstream_error import read_error
from middlewares.length_error import LengthError, is_overflow
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

OF_OLDER_VERSIONS = {
    "0.9, in all": "This model's maximum context length is 16384 tokens. However, you requested "
    "122946 tokens (112946 in the messages, 10000 in the completion). Please reduce the length "
    "of the messages or completion.",
    "0.9, the messages": "This model's maximum context length is 16384 tokens. However, you "
    "requested 16900 tokens in the messages, Please reduce the length of the messages.",
    "0.11, in all": "'max_tokens' or 'max_completion_tokens' is too large: 8000. This model's "
    "maximum context length is 8192 tokens and your request has 300 input tokens "
    "(8000 > 8192 - 300).",
    "0.11, the messages": "This model's maximum context length is 8192 tokens. However, your "
    "request has 8300 input tokens. Please reduce the length of the input messages.",
    "engine": "The decoder prompt (length 2100) is longer than the maximum model length of 2048. "
    "Make sure that `max_model_len` is no smaller than the number of text tokens.",
    "engine, no room": "The decoder prompt (length 2048) plus the number of requested output "
    "tokens (at least 1) is longer than the maximum model length of 2048.",
    "0.17": "You passed 1193 input tokens and requested 7000 output tokens. However, the model's "
    "context length is only 8192 tokens, resulting in a maximum input length of 1192 tokens. "
    "Please reduce the length of the input prompt.",
    "0.18": "This model's maximum context length is 32768 tokens. However, you requested 0 output "
    "tokens and your prompt contains at least 32769 input tokens, for a total of at least 32769 "
    "tokens.",
    "0.18, in all": "This model's maximum context length is 8192 tokens. However, you requested "
    "3584 output tokens and your prompt contains at least 4609 input tokens, for a total of at "
    "least 8193 tokens.",
}
NOT_THE_PROMPT = {
    "0.9": "This model's maximum context length is 8192 tokens. However, you requested 9100 tokens "
    "(100 in the messages, 9000 in the completion). Please reduce the length of the messages or "
    "completion.",
    "0.11": "'max_tokens' or 'max_completion_tokens' is too large: 9000. This model's maximum "
    "context length is 8192 tokens and your request has 100 input tokens (9000 > 8192 - 100).",
    "0.16": "max_tokens=9000 cannot be greater than max_model_len=max_total_tokens=8192. Please "
    "request fewer output tokens.",
    "template": "Can only get item pairs from a mapping.",
    "sampling": "max_tokens must be a number",
    "bare words": "the context length of this document is unknown",
    "tools": '"auto" tool choice requires --enable-auto-tool-choice',
}


def refusal(message: str, param: str | None = None, status: int = 400) -> UpstreamError:
    return UpstreamError(message, status=status, param=param)


def as_recorded(name: str) -> UpstreamError:
    response = recorded.load(name)["response"]
    return read_error(response["status"], codec.encode(response["body"]))


async def empty(error: UpstreamError = OVERFLOW, **body: Any) -> Json:
    """The reply that stands for an overflow."""
    return fold(await collect(LengthError(), call(**body), Replica(error=error)))


@pytest.mark.parametrize("name", TOO_LONG)
def test_a_recorded_overflow_is_recognised(name: str) -> None:
    assert is_overflow(as_recorded(name), recorded.request(name))


@pytest.mark.parametrize("param", ["input_tokens", "input_text"])
def test_the_params_of_0_32_are_recognised_whatever_the_message_says(param: str) -> None:
    assert is_overflow(refusal("too long", param), {})


@pytest.mark.parametrize("message", OF_OLDER_VERSIONS.values(), ids=OF_OLDER_VERSIONS)
def test_the_phrases_of_older_versions_are_recognised(message: str) -> None:
    """67."""
    assert is_overflow(refusal(message), {"max_tokens": 1})


def test_a_text_too_long_to_be_tokenized_is_an_overflow() -> None:
    message = (
        "This model's maximum context length is 8192 tokens. However, you requested 4096 output "
        "tokens and your prompt contains 99999 characters (more than 65536 characters, which is "
        "the upper bound for 4096 input tokens)."
    )
    assert is_overflow(refusal(message, "input_text"), {"max_tokens": 4096})


@pytest.mark.parametrize("message", NOT_THE_PROMPT.values(), ids=NOT_THE_PROMPT)
def test_what_is_no_overflow_stays_the_clients_fault(message: str) -> None:
    """68."""
    assert not is_overflow(refusal(message), {"max_tokens": 9000})


def test_a_negative_rest_is_an_overflow_if_the_client_set_no_limit() -> None:
    error = refusal("max_tokens must be at least 1, got -186.")
    assert is_overflow(error, {})
    assert not is_overflow(error, {"max_tokens": -186})
    assert not is_overflow(error, {"max_completion_tokens": -186})


@pytest.mark.parametrize(
    "name",
    [n for n in recorded.names("err-", path="/v1/chat/completions") if n not in TOO_LONG],
)
def test_no_other_recorded_error_is_taken_for_an_overflow(name: str) -> None:
    """68."""
    assert not is_overflow(as_recorded(name), {})


def test_an_overflow_is_told_with_a_400_only() -> None:
    assert not is_overflow(refusal(OVERFLOW.message, "input_tokens", status=500), {})


def test_a_fault_of_another_field_that_quotes_an_overflow_is_none() -> None:
    assert not is_overflow(refusal(f"bad: {OVERFLOW.message}", "body.messages"), {})


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
    flat = error_body(400, OF_OLDER_VERSIONS["0.9, in all"], "BadRequestError")["error"]
    fake.script(Status(400, {"object": "error", **flat}))
    async with serving(fake) as client:
        answer = await client.post(HELLO)
    assert answer.json["choices"][0]["stop_reason"] == "context_length_exceeded"
