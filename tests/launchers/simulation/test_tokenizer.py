"""``/tokenize`` and ``/detokenize``."""

import pytest

from launchers.simulation.tokens import encode
from tests import recorded
from tests.launchers.client import CHAT, Client, Start, chat, shape


@pytest.mark.parametrize(
    "name", ["tokenize-prompt", "tokenize-prompt-no-model", "tokenize-messages"]
)
async def test_an_answer_looks_like_the_recorded_one(client: Client, name: str) -> None:
    made = await client.ok("/tokenize", recorded.request(name) | {"model": "simulated"})
    assert shape(made) == shape(recorded.body(name))


async def test_messages_have_the_prompt_ids_of_the_chat(start: Start) -> None:
    client = await start(reasoning=True)
    off = {"enable_thinking": False}
    tools = [{"type": "function", "function": {"name": "look"}}]
    body = chat(tools=tools, chat_template_kwargs=off)
    told = await client.ok(CHAT, body | {"return_token_ids": True})
    assert (await client.ok("/tokenize", body))["tokens"] == told["prompt_token_ids"]


async def test_effort_is_not_looked_at(start: Start) -> None:
    client = await start(reasoning=True)
    bodies = [chat(), chat(reasoning_effort="none")]
    plain, told = [await client.ok("/tokenize", body) for body in bodies]
    assert plain == told


async def test_reasoning_content_is_not_looked_at(client: Client) -> None:
    message = {"role": "assistant", "content": "Hi"}
    bodies = [{"messages": [message]}, {"messages": [message | {"reasoning_content": "Hm."}]}]
    plain, told = [await client.ok("/tokenize", body) for body in bodies]
    assert plain == told


async def test_a_prompt_may_be_longer_than_the_model_takes(start: Start) -> None:
    client = await start(max_model_len=2)
    told = await client.ok("/tokenize", {"prompt": "a" * 9})
    assert (told["count"], told["max_model_len"]) == (3, 2)


async def test_nothing_to_tokenize_is_a_fault_of_the_client(client: Client) -> None:
    status, reply = await client.post("/tokenize", {})
    assert (status, reply["error"]["param"]) == (400, "body.prompt")


async def test_ids_give_their_text_back(client: Client) -> None:
    tokens = encode("The capital<|end|>")
    assert await client.ok("/detokenize", {"tokens": tokens}) == {"prompt": "The capital<|end|>"}


async def test_ids_out_of_the_vocabulary_are_dropped(client: Client) -> None:
    told = await client.ok("/detokenize", {"tokens": [*encode("The"), 99999999]})
    assert told == recorded.body("detokenize-out-of-range")


async def test_an_unknown_model_is_refused_as_recorded(start: Start) -> None:
    client, name = await start(model="tiny-plain"), "tokenize-wrong-model"
    assert await client.post("/tokenize", recorded.request(name)) == (404, recorded.body(name))
