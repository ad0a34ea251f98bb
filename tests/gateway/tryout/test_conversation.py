"""A conversation of two turns."""

import pytest

from gateway.client.server import Client
from gateway.tryout.asking import NOT_OPENAI
from gateway.tryout.chat import Chat
from gateway.tryout.conversation import CUT, NO_CALL, NO_TEXT, Conversation, Turn
from gateway.tryout.finding import Finding
from gateway.tryout.language import Language
from gateway.tryout.responses import Responses
from gateway.tryout.weather import QUESTION, RESULT
from tests import plausible
from tests.fake_vllm import CHAT, Answer, Complete, FakeVllm, Status
from tests.gateway.tryout import made_up
from tests.gateway.tryout.made_up import RESPONSES, called, item, message, reached, tool_call

Held = tuple[Turn, Turn] | Finding
ARGUMENTS = '{"city": "Paris"}'


async def held(
    fake: FakeVllm, *answers: Answer, language: Language | None = None, stream: bool = False
) -> Held:
    """What comes of a conversation with these answers."""
    spoken = language or Chat()
    fake.script(*answers, path=spoken.path)
    async with reached(fake.url) as server:
        return await Conversation(Client(server), spoken, stream, "fake-model").hold()


@pytest.mark.parametrize(
    ("language", "stream", "title"),
    [(Chat(), False, "Chat Completions, complete"), (Responses(), True, "Responses, streamed")],
)
async def test_a_conversation_is_named_after_its_form(
    fake: FakeVllm, language: Language, stream: bool, title: str
) -> None:
    async with reached(fake.url) as server:
        assert Conversation(Client(server), language, stream, "m").title == title


@pytest.mark.parametrize("stream", [False, True])
async def test_chat_answers_after_its_tool_was_called(fake: FakeVllm, stream: bool) -> None:
    turns = await held(fake, called(), Complete(plausible.reply("Sunny.")), stream=stream)
    assert isinstance(turns, tuple)
    assert turns[1].said.text == "Sunny."
    first, second = (received.body for received in fake.requests)
    assert (first["model"], first["stream"], first["tool_choice"]) == (
        "fake-model",
        stream,
        "required",
    )
    assert "tool_choice" not in second
    result = {"role": "tool", "tool_call_id": "call-1", "content": RESULT}
    turn = {"role": "assistant", "tool_calls": [tool_call()]}
    assert second["messages"] == [QUESTION, turn, result]


@pytest.mark.parametrize("stream", [False, True])
async def test_responses_answers_after_its_tool_was_called(fake: FakeVllm, stream: bool) -> None:
    make = made_up.streamed if stream else made_up.told
    answers = make(item()), make(message("Sunny."))
    turns = await held(fake, *answers, language=Responses(), stream=stream)
    assert isinstance(turns, tuple)
    assert turns[1].said.text == "Sunny."
    first, second = (received.body for received in fake.requests)
    assert (first["stream"], first["tool_choice"]) == (stream, "required")
    result = {"type": "function_call_output", "call_id": "call-1", "output": RESULT}
    assert second["input"] == [QUESTION, item(), result]
    assert fake.requests[0].path == RESPONSES


async def test_each_of_several_calls_gets_its_result(fake: FakeVllm) -> None:
    calls = [tool_call(), {**tool_call(), "id": "call-2"}]
    await held(fake, Complete(plausible.reply(None, tool_calls=calls)))
    history = (await fake.received(2)).body["messages"]
    assert [m["tool_call_id"] for m in history[2:]] == ["call-1", "call-2"]


async def test_the_replica_of_each_turn_is_kept(fake: FakeVllm) -> None:
    first = plausible.reply(None, tool_calls=[tool_call()])
    answers = [
        Status(200, reply, {"X-Gateway-Replica": name})
        for reply, name in ((first, "one"), (plausible.reply("Sunny."), "two"))
    ]
    turns = await held(fake, *answers)
    assert isinstance(turns, tuple)
    assert [turn.replica for turn in turns] == ["one", "two"]


async def test_a_model_that_calls_no_tool_is_a_failure(fake: FakeVllm) -> None:
    text = "the model did not call the tool, it said 'Hello there.'"
    assert await held(fake) == Finding("turn 1", text, NO_CALL)


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (called("Paris"), "get_weather(Paris)"),
        (called('"Paris"'), 'get_weather("Paris")'),
        (called(name="weather"), 'weather({"city": "Paris"})'),
    ],
)
async def test_a_call_that_the_tool_cannot_take_is_a_failure(
    fake: FakeVllm, call: Answer, shown: str
) -> None:
    assert await held(fake, call) == Finding("turn 1", f"the model called {shown}", NO_CALL)


async def test_a_call_that_was_cut_is_a_failure_of_the_limit(fake: FakeVllm) -> None:
    cut = plausible.reply(None, tool_calls=[tool_call('{"ci')], choice={"finish_reason": "length"})
    expected = Finding("turn 1", 'the model called get_weather({"ci)', CUT)
    assert await held(fake, Complete(cut)) == expected


async def test_reasoning_that_was_cut_is_a_failure_of_the_limit(fake: FakeVllm) -> None:
    cut = plausible.reply("<think>Well", choice={"finish_reason": "length"})
    text = "the model did not call the tool, it said '<think>Well'"
    assert await held(fake, Complete(cut)) == Finding("turn 1", text, CUT)


async def test_a_second_turn_without_an_answer_is_a_failure(fake: FakeVllm) -> None:
    found = await held(fake, called(), Complete(plausible.reply(" ")))
    assert found == Finding("turn 2", "the model gave no answer", NO_TEXT)


async def test_a_second_call_instead_of_an_answer_is_a_failure(fake: FakeVllm) -> None:
    text = f"the model gave no answer but called get_weather({ARGUMENTS})"
    assert await held(fake, called(), called()) == Finding("turn 2", text, NO_TEXT)


async def test_an_overflow_in_the_second_turn_is_a_failure_of_the_limit(fake: FakeVllm) -> None:
    empty = plausible.reply(None, choice={"finish_reason": "length"})
    found = await held(fake, called(), Complete(empty))
    assert found == Finding("turn 2", "the model gave no answer", CUT)


async def test_an_error_is_told_with_its_turn_and_its_advice(fake: FakeVllm) -> None:
    found = await held(fake, called(), Status(404, {"detail": "Not Found"}))
    assert found == Finding("turn 2", "404 Not Found", Chat.missing)


@pytest.mark.parametrize("language", [Chat(), Responses()])
@pytest.mark.parametrize("body", [{}, {"choices": [], "output": None}])
async def test_a_reply_of_another_shape_is_a_failure(
    fake: FakeVllm, language: Language, body: dict[str, object]
) -> None:
    found = await held(fake, Status(200, body), language=language)
    assert isinstance(found, Finding)
    assert found.text.startswith(f"the reply is not one of {language.name}: ")
    assert (found.label, found.advice) == ("turn 1", NOT_OPENAI)


async def test_the_scripted_server_has_no_responses(fake: FakeVllm) -> None:
    found = await held(fake, language=Responses())
    assert found == Finding("turn 1", "404 Not Found", Responses.missing)
    assert CHAT not in {received.path for received in fake.requests}
