"""Text completions, beside those that were recorded from vLLM."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import codec
from gateway.core import Json
from gateway.errors import GatewayError
from launchers.simulation.completions import complete
from launchers.simulation.engine import Engine, Pace
from tests import recorded
from tests.launchers.client import COMPLETIONS, Client, comparable, shape


@pytest.mark.parametrize(
    "name",
    [
        "completions-prompt",
        "completions-token-ids",
        "completions-batch-prompts",
        "completions-default-max-tokens",
        "completions-logprobs0-token-ids",
        "completions-logprobs0-as-token-ids",
        "completions-logprobs1",
    ],
)
async def test_a_completion_looks_like_the_recorded_one(client: Client, name: str) -> None:
    made = _tokens_alike(await client.ok(COMPLETIONS, _request(name)))
    expected = _tokens_alike(recorded.body(name))
    assert shape(comparable(made, name)) == shape(comparable(expected, name))


@pytest.mark.parametrize("name", ["completions-stream", "completions-stream-token-ids"])
async def test_chunks_look_like_the_recorded_ones(client: Client, name: str) -> None:
    made = [_tokens_alike(event) for event in await client.events(COMPLETIONS, _request(name))]
    expected = [_tokens_alike(event) for event in recorded.events(name)]
    shapes = [shape(comparable(event, name)) for event in expected]
    assert [shape(comparable(event, name)) for event in made] == shapes


def _request(name: str) -> Json:
    return recorded.request(name) | {"model": "simulated"}


def _tokens_alike(reply: Json) -> Json:
    """The reply without tokens as keys, which differ from one vocabulary to the next."""
    return reply | {"choices": [_choice(choice) for choice in reply["choices"]]}


def _choice(choice: Json) -> Json:
    if not choice["logprobs"]:
        return choice
    top = [list(by_token.values()) for by_token in choice["logprobs"]["top_logprobs"]]
    return choice | {"logprobs": choice["logprobs"] | {"top_logprobs": top}}


@pytest.mark.parametrize(
    "name", ["err-completions-empty-prompt", "err-completions-empty-token-list"]
)
async def test_an_empty_prompt_is_refused_as_recorded(client: Client, name: str) -> None:
    assert await client.post(COMPLETIONS, _request(name)) == (400, recorded.body(name))


async def test_an_id_out_of_the_vocabulary_is_refused_as_recorded(client: Client) -> None:
    error = recorded.body("err-completions-token-out-of-vocab")["error"]
    message = "Token id 99999999 is out of vocabulary"
    made = await client.post(COMPLETIONS, {"prompt": [504, 99999999]})
    assert made == (400, {"error": error | {"message": message}})


async def test_the_prompt_is_missing(client: Client) -> None:
    expected = recorded.body("err-completions-empty-prompt")
    assert await client.post(COMPLETIONS, {}) == (400, expected)


async def test_a_batch_has_choices_for_each_prompt_in_order(client: Client) -> None:
    body = {"prompt": ["One", "Two"], "n": 2, "max_tokens": 40}
    choices = (await client.ok(COMPLETIONS, body))["choices"]
    assert [(choice["index"], choice["text"]) for choice in choices] == [
        (0, ' [simulated text after "One"]'),
        (1, ' [simulated text after "One"] (choice 2)'),
        (2, ' [simulated text after "Two"]'),
        (3, ' [simulated text after "Two"] (choice 2)'),
    ]


async def test_ids_and_text_of_a_prompt_are_the_same(client: Client) -> None:
    tokens = (await client.ok("/tokenize", {"prompt": "Once upon"}))["tokens"]
    replies = [await client.ok(COMPLETIONS, {"prompt": p}) for p in ("Once upon", tokens, [tokens])]
    assert len({reply["choices"][0]["text"] for reply in replies}) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_echo_puts_the_prompt_before_the_text(client: Client, stream: bool) -> None:
    body = {"prompt": "Once upon", "echo": True, "max_tokens": 40}
    replies = (
        await client.events(COMPLETIONS, body) if stream else [await client.ok(COMPLETIONS, body)]
    )
    said = "".join(choice["text"] for reply in replies for choice in reply["choices"])
    assert said == 'Once upon [simulated text after "Once upon"]'


async def test_echo_has_log_probabilities_of_the_prompt_but_for_its_first_token(
    client: Client,
) -> None:
    body = {"prompt": "Once", "echo": True, "max_tokens": 1, "logprobs": 0}
    (choice,) = (await client.ok(COMPLETIONS, body))["choices"]
    assert choice["logprobs"]["tokens"] == ["Onc", "e", " [s"]
    assert choice["logprobs"]["token_logprobs"][0] is None


async def test_the_pieces_count_their_offsets_on(client: Client) -> None:
    body = {"prompt": "Once", "max_tokens": 3, "logprobs": 0}
    events = await client.events(COMPLETIONS, body)
    assert [e["choices"][0]["logprobs"]["text_offset"] for e in events] == [[0], [3], [6]]


async def test_a_stop_string_ends_the_text(client: Client) -> None:
    body = {"prompt": "Once", "stop": ["after"], "max_tokens": 40}
    (choice,) = (await client.ok(COMPLETIONS, body))["choices"]
    assert (choice["text"], choice["stop_reason"]) == (" [simulated text ", "after")


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-3, 600), st.floats(-3, 3), st.text(max_size=3)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = ["prompt", "n", "stop", "stream", "echo", "logprobs", "max_tokens", "prompt_logprobs"]


@given(st.dictionaries(st.sampled_from([*FIELDS, "return_token_ids", "temperature"]), VALUES))
def test_whatever_the_body_the_worst_is_a_refusal(body: Json) -> None:
    assert refusal(Engine("simulated", 300, False, Pace()), body) in (None, 400, 404)


def refusal(engine: Engine, body: Json) -> int | None:
    try:
        for step in complete(engine, {"prompt": "Once", **body}, {}):
            codec.encode(step.chunk)
    except GatewayError as error:
        return error.status
    return None
