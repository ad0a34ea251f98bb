"""A conversation that is longer than the model's context."""

import pytest

from gateway import codec
from gateway.errors import UpstreamError
from gateway.overflow import is_overflow
from gateway.upstream.error import read_error
from tests import recorded

TOO_LONG = [
    "err-prompt-too-long",
    "err-prompt-too-long-stream",
    "err-prompt-too-long-no-max-tokens",
]


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


RECORDED = (
    "This model's maximum context length is 2048 tokens. However, your prompt contains at least "
    "2049 input tokens, which exceeds this limit even without any output tokens."
)


def refusal(message: str, param: str | None = None, status: int = 400) -> UpstreamError:
    return UpstreamError(message, status=status, param=param)


def as_recorded(name: str) -> UpstreamError:
    response = recorded.load(name)["response"]
    return read_error(response["status"], codec.encode(response["body"]))


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
    assert not is_overflow(refusal(RECORDED, "input_tokens", status=500), {})


def test_a_fault_of_another_field_that_quotes_an_overflow_is_none() -> None:
    assert not is_overflow(refusal(f"bad: {RECORDED}", "body.messages"), {})


def test_the_engines_own_responses_api_words_it_otherwise() -> None:
    message = "The engine prompt length 2100 exceeds the max_model_len 2048. Please reduce prompt."
    assert is_overflow(refusal(message, "input"), {})
    assert not is_overflow(refusal("input must be a list", "input"), {})
