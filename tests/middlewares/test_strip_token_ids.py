"""Token arrays in the history; numbers are those of the behaviour checklist."""

from middlewares.strip_token_ids import StripTokenIds
from tests.calls import USER, call, sent
from tests.fake_vllm import FakeVllm
from tests.serving import serving

ANSWER = {"role": "assistant", "content": "Hi"}
ARRAYS = {
    "prompt_token_ids": [1],
    "generation_token_ids": [2],
    "generation_log_probs": [-0.5],
    "routed_experts": "nrlre1:uint8:1x1x1:AA==",
}


async def test_the_arrays_of_earlier_turns_are_taken_out() -> None:
    """84."""
    body = await sent(StripTokenIds(), call(USER, {**ANSWER, **ARRAYS}, USER))
    assert body["messages"] == [USER, ANSWER, USER]


async def test_a_history_without_them_is_the_same_list() -> None:
    a_call = call(USER, ANSWER, USER)
    assert (await sent(StripTokenIds(), a_call))["messages"] is a_call.body["messages"]


async def test_the_callers_messages_stay_as_they_are() -> None:
    a_call = call(USER, {**ANSWER, **ARRAYS})
    await sent(StripTokenIds(), a_call)
    assert a_call.body["messages"][1] == {**ANSWER, **ARRAYS}


async def test_an_engine_that_does_not_train_never_sees_them(fake: FakeVllm) -> None:
    """84."""
    async with serving(fake) as client:
        await client.post({"messages": [USER, {**ANSWER, **ARRAYS}, USER]})
    assert fake.requests[-1].body["messages"] == [USER, ANSWER, USER]


async def test_what_the_client_asks_of_the_engine_itself_is_left_alone(fake: FakeVllm) -> None:
    """77."""
    asked = {"logprobs": True, "top_logprobs": 2, "return_token_ids": True}
    async with serving(fake) as client:
        answer = await client.post({"messages": [USER], **asked})
    assert {k: fake.requests[-1].body[k] for k in asked} == asked
    assert answer.json["prompt_token_ids"] is not None


async def test_a_null_top_logprobs_is_not_sent(fake: FakeVllm) -> None:
    """77."""
    async with serving(fake) as client:
        await client.post({"messages": [USER], "logprobs": True, "top_logprobs": None})
    assert "top_logprobs" not in fake.requests[-1].body
