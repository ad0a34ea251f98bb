"""What the pipeline makes of a request, and why."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config, Model
from gateway.core import Json
from gateway.errors import BadRequest
from gateway.explain import explain
from gateway.gateway import Gateway
from tests.serving import HELLO

REQUEST: Json = {
    "messages": [{"role": "developer", "content": "D"}],
    "temperature": 0.2,
    "metadata": {"extra_body": '{"top_k": 5}'},
}


async def explained(body: Json = REQUEST, /, record: str | None = None, **keys: Any) -> list[str]:
    config = Config({"policy": Model(base_url=("http://127.0.0.1:9",), **keys)}, record=record)
    return (await explain(config, Gateway.of(config).catalog, body)).split("\n")


def sources(lines: list[str]) -> dict[str, str]:
    """The setting of each field that is sent."""
    sent = lines[lines.index("sent to the replica, field by field") + 1 :]
    pairs = [line.split("   <- ") for line in sent]
    return {shown.split(" = ")[0].strip(): source for shown, source in pairs}


async def test_each_field_has_its_source() -> None:
    lines = await explained(
        model="org/a",
        replace_developer_role_with_system=True,
        chat_template_kwargs={"enable_thinking": False},
        extra_body={"min_tokens": 2, "temperature": 0.9},
        sampling_overrides={"top_p": 1.0},
        return_token_id_information=True,
    )
    key = "models.policy"
    assert sources(lines) == {
        "messages": f"{key}.replace_developer_role_with_system, the request",
        "temperature": "the request",
        "metadata": "the request",
        "top_k": "metadata.extra_body of the request",
        "min_tokens": f"{key}.extra_body.min_tokens",
        "chat_template_kwargs": f"{key}.chat_template_kwargs",
        "top_p": f"{key}.sampling_overrides.top_p",
        "logprobs": f"{key}.return_token_id_information",
        "return_token_ids": f"{key}.return_token_id_information",
        "model": f"{key}.model",
    }


async def test_the_body_is_shown_after_each_middleware_that_changed_it() -> None:
    lines = await explained(replace_developer_role_with_system=True)
    after = lines.index("after developer_role")
    assert '      "role": "system",' in lines[after:]
    assert "after request_log (unchanged)" in lines


async def test_a_model_that_is_not_configured_is_asked_of_the_replica() -> None:
    assert sources(await explained())["model"] == "the replica"


@pytest.mark.parametrize(
    ("request_fields", "key", "source"),
    [
        ({"guided_json": {}}, "structured_outputs", "guided_json of the request"),
        ({"reasoning": {"effort": "low"}}, "reasoning_effort", "reasoning.effort of the request"),
        (
            {"metadata": {"extra_body": {"guided_regex": "a"}}},
            "structured_outputs",
            "metadata.extra_body of the request",
        ),
        ({"metadata": {"extra_body": {"top_k_": 1}}}, "top_k", "models.policy.extra_body.top_k"),
    ],
)
async def test_a_field_that_extra_body_sends_has_the_layer_it_is_from(
    request_fields: Json, key: str, source: str
) -> None:
    lines = await explained(HELLO | request_fields, extra_body={"top_k": 4})
    assert sources(lines)[key] == source


async def test_a_recorded_request_is_explained_and_not_written_down(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    lines = await explained(record=str(calls))
    assert lines.count("after record (unchanged)") == 2
    assert not await asyncio.to_thread(calls.exists)


async def test_a_responses_request_is_explained_as_one() -> None:
    lines = await explained({"input": "Hello"}, extra_body={"top_k": 4})
    assert sources(lines) == {
        "messages": "the request",
        "top_k": "models.policy.extra_body.top_k",
        "model": "the replica",
    }


async def test_a_request_that_would_be_refused_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"^n must be 1 while token ids are collected$"):
        await explained({**REQUEST, "n": 2}, return_token_id_information=True)
