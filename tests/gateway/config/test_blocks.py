"""The models as they were configured, and what they must not say."""

from typing import Any

import pytest
from omegaconf import OmegaConf

from gateway.config.blocks import Block, conflicts, native, read
from gateway.core import Json


def found(tree: Json) -> tuple[list[Block], list[str]]:
    faults: list[str] = []
    return native(OmegaConf.create(tree), faults), faults


def block(**options: Any) -> Block:
    return Block("policy", "models.policy", options, frozenset(options))


def test_a_block_knows_what_it_was_given() -> None:
    faults: list[str] = []
    tree = OmegaConf.create({"m": {"a": 1, "b": None, "c": "${nowhere}", "d": []}})
    assert read("policy", tree, "m", "x", faults) == Block(
        "policy", "x.m", {"a": 1, "b": None, "d": []}, frozenset({"a", "c"})
    )
    assert faults == ["missing, give it with ++nowhere=... @ x.m.c"]


@pytest.mark.parametrize(
    ("tree", "fault"),
    [
        ({"m": 7}, "expected mapping, got 7 @ x.m"),
        ({"m": None}, "expected mapping, got None @ x.m"),
        ({"m": "???"}, "missing, give it with ++m=... @ x.m"),
    ],
)
def test_what_is_no_block_is_a_fault(tree: Json, fault: str) -> None:
    faults: list[str] = []
    assert read("policy", OmegaConf.create(tree), "m", "x", faults) is None
    assert faults == [fault]


def test_native_models_have_their_names() -> None:
    blocks, faults = found({"models": {"a": {"base_url": "x"}, "b": {"launcher": "y"}}})
    assert [(b.name, b.path, b.options) for b in blocks] == [
        ("a", "models.a", {"base_url": "x"}),
        ("b", "models.b", {"launcher": "y"}),
    ]
    assert faults == []


@pytest.mark.parametrize("tree", [{}, {"models": None}, {"models": {}}])
def test_there_may_be_none(tree: Json) -> None:
    assert found(tree) == ([], [])


def test_models_are_a_mapping() -> None:
    assert found({"models": 7}) == ([], ["expected mapping, got 7 @ models"])


def test_a_source_that_is_missing_is_one_fault_only() -> None:
    faults = found({"models": {"p": {"base_url": "${policy_base_url}"}}})[1]
    assert faults == ["missing, give it with ++policy_base_url=... @ models.p.base_url"]


@pytest.mark.parametrize("key", ["model", "messages", "stream", "stream_options"])
def test_some_overrides_would_break_every_call(key: str) -> None:
    fault = f"would break every call @ models.policy.sampling_overrides.{key}"
    assert [*conflicts(block(sampling_overrides={key: None}))] == [fault]


@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        ({"n": 2}, "token ids need n: 1 @ models.policy.sampling_overrides.n"),
        (
            {"logprobs": False},
            "token ids need logprobs: true @ models.policy.sampling_overrides.logprobs",
        ),
        (
            {"return_token_ids": False},
            "token ids need return_token_ids: true @ "
            "models.policy.sampling_overrides.return_token_ids",
        ),
        (
            {"include_reasoning": False},
            "token ids need include_reasoning: true @ "
            "models.policy.sampling_overrides.include_reasoning",
        ),
    ],
)
def test_some_overrides_would_lose_the_token_ids(overrides: Json, fault: str) -> None:
    on = block(sampling_overrides=overrides, return_token_id_information=True)
    off = block(sampling_overrides=overrides, return_token_id_information=False)
    assert [*conflicts(on)] == [fault]
    assert [*conflicts(off)] == []


@pytest.mark.parametrize(
    "overrides", [None, {}, {"n": 1, "logprobs": True, "temperature": 1.0, "max_tokens": None}, 7]
)
def test_other_overrides_are_fine(overrides: object) -> None:
    given = block(sampling_overrides=overrides, return_token_id_information=True)
    assert [*conflicts(given)] == []


@pytest.mark.parametrize("key", ["extra_body", "sampling_overrides"])
def test_fields_that_a_request_would_be_refused_for_are_faults(key: str) -> None:
    fields = {"n": "two", "reasoning": {"effort": 3}, "chat_template_kwargs": "x", "top_k": "any"}
    path = f"models.policy.{key}"
    assert [*conflicts(block(**{key: fields}))] == [
        f"n must be an integer, not a string @ {path}.n",
        f"reasoning.effort must be a string, not an integer @ {path}.reasoning.effort",
        f"chat_template_kwargs must be an object, not a string @ {path}.chat_template_kwargs",
    ]


@pytest.mark.parametrize("key", ["extra_body", "sampling_overrides"])
def test_fields_may_be_null(key: str) -> None:
    assert [*conflicts(block(**{key: {"n": None, "tools": None}}))] == []


@pytest.mark.parametrize(
    "key", [{"api_key": "hush"}, {"default_headers": {"authorization": "Bearer hush"}}]
)
@pytest.mark.parametrize(
    ("urls", "place"), [("http://u:hush@a", ""), (["http://a", "http://u@b"], "[1]")]
)
def test_a_url_with_a_user_leaves_no_room_for_a_key(key: Json, urls: object, place: str) -> None:
    fault = "a user in the URL, and an api_key: only one of them can be sent"
    assert [*conflicts(block(base_url=urls, **key))] == [f"{fault} @ models.policy.base_url{place}"]
    assert [*conflicts(block(base_url=urls, default_headers={"X-Team": "rl"}))] == []


def test_the_engines_own_responses_have_no_token_ids() -> None:
    fault = (
        "return_token_id_information is true, and the engine's Responses API has no token ids @ "
        "models.policy.is_responses_native"
    )
    both = block(is_responses_native=True, return_token_id_information=True)
    assert [*conflicts(both)] == [fault]
    assert [*conflicts(block(is_responses_native=True))] == []
