"""What is shown in place of secrets."""

from typing import Any

import pytest

from gateway.masking import hidden, is_secret, masked, shown, without_key, without_user


def test_passwords_are_hidden_wherever_they_stand() -> None:
    text = "http://u:p@a/v1 and https://b/@c and http://u:p@ss@d"
    assert without_user(text) == "http://***@a/v1 and https://b/@c and http://***@d"


@pytest.mark.parametrize(
    "key", ["headers", "api_key", "secret", "token", "password", "authorization", "API_Key"]
)
def test_what_is_below_the_name_of_a_secret_is_hidden(key: str) -> None:
    options = {"vllm": [{key: "hush", "tokens": 5}]}
    assert masked(options) == {"vllm": [{key: "***", "tokens": 5}]}


@pytest.mark.parametrize("name", ["HF_TOKEN", "VLLM_API_KEY", "AWS_SECRET_ACCESS_KEY", "hf_token"])
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "max_tokens", "VLLM_USE_V1", "monkey"])
def test_most_names_are_not_those_of_secrets(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize("value", [None, "simulated", 5, {"simulated": {"replicas": 2}}, ["a"]])
def test_the_rest_is_shown(value: Any) -> None:
    assert masked(value) == value


def test_of_hidden_headers_the_names_are_shown() -> None:
    assert hidden({"X-Key": "hush"}) == {"X-Key": "***"}


def test_one_line_hides_both_kinds() -> None:
    assert shown({"url": "http://u:p@a", "token": "hush"}) == (
        "{'url': 'http://***@a', 'token': '***'}"
    )


def test_a_key_is_hidden_wherever_it_is_repeated() -> None:
    assert without_key("no key sk-2, sk-2", "sk-2") == "no key ***, ***"
    assert without_key("no key", None) == "no key"
