"""The command ``try``."""

import asyncio

import pytest

from gateway.tryout import advice
from gateway.tryout.asking import NOT_OPENAI
from gateway.tryout.chat import Chat
from gateway.tryout.command import main
from gateway.tryout.conversation import NO_CALL
from gateway.tryout.findings import MOVED
from gateway.tryout.responses import Responses
from tests import plausible
from tests.calls import chunk
from tests.fake_vllm import CHAT, Complete, FakeVllm, Status, events
from tests.gateway.tryout.made_up import (
    RESPONSES,
    called,
    item,
    message,
    streamed,
    told,
    tool_call,
)
from tests.serving import serving

Printed = pytest.CaptureFixture[str]
NOT_TOLD = "  replica        not told (no X-Gateway-Replica), so affinity cannot be seen"
NO_TOOLS = Status(
    400,
    plausible.error(
        400, 'tool_choice="required" requires --tool-call-parser to be set', "BadRequestError"
    ),
)


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


async def tried(printed: Printed, *argv: str) -> tuple[int, list[str]]:
    """Exit status, and what is printed after the address."""
    status = await asyncio.to_thread(main, argv)
    return status, printed.readouterr().out.splitlines()[1:]


def failing(advice: str, text: str, label: str = "turn 1") -> list[str]:
    return [f"  {label:<15}{text}", f"  what to do     {advice}"]


def all_failing(advice: str, text: str) -> list[str]:
    """What is printed if each conversation fails in this way."""
    lines: list[str] = []
    for language in ("Responses", "Chat Completions"):
        for form in ("complete", "streamed"):
            lines += [f"{language}, {form}: failed", *failing(advice, text)]
    return [*lines, "4 of 4 failed"]


async def test_a_bare_server_is_good_without_a_replica_being_told(
    fake: FakeVllm, capsys: Printed
) -> None:
    fake.script(told(item()), told(message("Sunny.")), path=RESPONSES)
    fake.script(streamed(item()), streamed(message("Sunny.")), path=RESPONSES)
    sunny = Complete(plausible.reply("Sunny."))
    fake.script(called(), sunny, called(), sunny)
    uncounted = "  cached tokens  not told (vLLM: --enable-prompt-tokens-details)"
    counted = "  cached tokens  4 of 9 in turn 2"
    rest = ["  answer         Sunny.", NOT_TOLD]
    assert await tried(capsys, f"{fake.url}/v1/") == (
        0,
        [
            *("Responses, complete: ok", *rest, counted, "  token ids      off"),
            *("Responses, streamed: ok", *rest, counted, "  token ids      off"),
            *("Chat Completions, complete: ok", *rest, uncounted, "  token ids      off"),
            *("Chat Completions, streamed: ok", *rest, uncounted, "  token ids      off"),
            "ok",
        ],
    )


async def test_each_conversation_is_a_session_of_its_own(fake: FakeVllm, capsys: Printed) -> None:
    fake.script(called(), Complete(plausible.reply("Sunny.")))
    await tried(capsys, fake.url)
    sessions = [r.headers["X-Session-ID"] for r in fake.requests if r.path == CHAT]
    assert len(sessions) == 3
    assert sessions[0] == sessions[1] != sessions[2]


async def test_the_only_model_that_is_listed_is_asked(fake: FakeVllm, capsys: Printed) -> None:
    await tried(capsys, fake.url)
    assert {received.body["model"] for received in fake.requests} == {"fake-model"}


async def test_a_model_that_is_named_is_not_looked_up(fake: FakeVllm, capsys: Printed) -> None:
    await tried(capsys, fake.url, "--model", "fake-model")
    assert fake.looks == []


async def test_without_a_responses_api_chat_is_tried_all_the_same(
    fake: FakeVllm, capsys: Printed
) -> None:
    sunny = Complete(plausible.reply("Sunny."))
    fake.script(called(), sunny, called(), sunny)
    status, lines = await tried(capsys, fake.url)
    no_responses = failing(Responses.missing, "404 Not Found")
    assert (status, lines[-1]) == (1, "2 of 4 failed")
    assert lines[:3] == ["Responses, complete: failed", *no_responses]
    assert lines[6] == "Chat Completions, complete: ok"


async def test_nobody_listens(fake: FakeVllm, capsys: Printed) -> None:
    await fake.stop()
    status, lines = await tried(capsys, fake.url)
    first, *rest = lines
    assert first.startswith(f"  models         {fake.url} took no connection: ")
    assert (status, rest) == (1, [f"  what to do     {advice.START}", "4 of 4 failed"])


async def test_several_models(capsys: Printed, fake: FakeVllm) -> None:
    cards = [{"id": "one"}, {"id": "two"}]
    fake.pages["/v1/models"] = Status(200, {"data": cards})
    expected = failing("say which with --model NAME", "GET /v1/models lists one, two", "models")
    assert await tried(capsys, fake.url) == (1, [*expected, "4 of 4 failed"])


async def test_an_address_of_something_else(capsys: Printed, fake: FakeVllm) -> None:
    fake.pages["/v1/models"] = Status(200, "<html>\nHello</html>")
    expected = failing(NOT_OPENAI, "GET /v1/models lists no models", "models")
    assert await tried(capsys, fake.url) == (1, [*expected, "4 of 4 failed"])


async def test_an_address_without_models(capsys: Printed, fake: FakeVllm) -> None:
    fake.pages["/v1/models"] = Status(404, "<html>\nnothing here</html>")
    expected = failing(NOT_OPENAI, "404 <html> nothing here</html>", "models")
    assert await tried(capsys, fake.url) == (1, [*expected, "4 of 4 failed"])


async def test_a_wrong_key(fake: FakeVllm, capsys: Printed) -> None:
    async with serving(fake, api_keys={"team": "right"}) as gateway:
        wrong = await tried(capsys, gateway.url, "--api-key", "wrong-1", "--model", "m")
    assert wrong == (1, all_failing(advice.KEY, "401 the API key is not one of this gateway's"))


async def test_a_key_that_may_not(fake: FakeVllm, capsys: Printed) -> None:
    fake.pages["/v1/models"] = Status(403, "Forbidden")
    expected = failing(advice.FORBIDDEN, "403 Forbidden", "models")
    assert await tried(capsys, fake.url) == (1, [*expected, "4 of 4 failed"])


@pytest.mark.parametrize("flag", [True, False])
async def test_the_key_comes_from_the_flag_or_the_environment(
    fake: FakeVllm, capsys: Printed, monkeypatch: pytest.MonkeyPatch, flag: bool
) -> None:
    fake.api_key = "sk-right"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong" if flag else "sk-right")
    await tried(capsys, fake.url, *(["--api-key", "sk-right"] if flag else []))
    sent = {received.headers["Authorization"] for received in fake.requests}
    assert sent == {"Bearer sk-right"}


async def test_a_user_in_the_url_is_sent_and_not_shown(
    fake: FakeVllm, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    url = fake.url.replace("://", "://me:pass-1@")
    await asyncio.to_thread(main, [url])
    assert (await fake.received()).headers["Authorization"].startswith("Basic ")
    out = capsys.readouterr().out
    assert out.startswith(f"trying {fake.url.replace('://', '://***@')}\n")
    assert "pass-1" not in out


async def test_a_key_that_the_server_repeats_is_not_shown(fake: FakeVllm, capsys: Printed) -> None:
    fake.pages["/v1/models"] = Status(401, {"error": {"message": "Incorrect key: sk-secret"}})
    _, lines = await tried(capsys, fake.url, "--api-key", "sk-secret")
    assert lines[0] == "  models         401 Incorrect key: ***"


async def test_an_unknown_model(fake: FakeVllm, capsys: Printed) -> None:
    _, lines = await tried(capsys, fake.url, "--model", "nope")
    text = "404 The model `nope` does not exist. Valid aliases: fake-model."
    assert lines[6:9] == [
        "Chat Completions, complete: failed",
        *failing("give --model one of these: fake-model", text),
    ]


async def test_no_replica(fake: FakeVllm, capsys: Printed) -> None:
    await fake.stop()
    name = fake.url.removeprefix("http://")
    async with serving(fake, wait=False) as gateway:
        printed = await tried(capsys, gateway.url)
    waits = f"GET /ready says: model policy waits for {name}"
    to_do = f"start them, or wait until they are up; {waits}"
    text = f"503 no replica of model policy is up; waiting for {name}"
    assert printed == (1, all_failing(to_do, text))


@pytest.mark.parametrize("status", [502, 504])
async def test_a_proxy_without_its_server(fake: FakeVllm, capsys: Printed, status: int) -> None:
    fake.script(Status(status, "Bad"))
    _, lines = await tried(capsys, fake.url)
    assert lines[7:9] == failing(advice.BEHIND, f"{status} Bad")


async def test_an_engine_without_tools(fake: FakeVllm, capsys: Printed) -> None:
    async with serving(fake) as gateway:
        fake.script(*[NO_TOOLS] * 4)
        printed = await tried(capsys, gateway.url)
    text = '400 tool_choice="required" requires --tool-call-parser to be set'
    assert printed == (1, all_failing(advice.PARSER, text))


async def test_a_model_that_calls_no_tool(fake: FakeVllm, capsys: Printed) -> None:
    async with serving(fake) as gateway:
        printed = await tried(capsys, gateway.url)
    text = "the model did not call the tool, it said 'Hello there.'"
    assert printed == (1, all_failing(NO_CALL, text))


async def test_another_replica_in_the_second_turn(fake: FakeVllm, capsys: Printed) -> None:
    call = plausible.reply(None, tool_calls=[tool_call()])
    replies = (call, "one"), (plausible.reply("Sunny."), "two")
    fake.script(*(Status(200, reply, {"X-Gateway-Replica": name}) for reply, name in replies))
    _, lines = await tried(capsys, fake.url)
    assert lines[6:10] == [
        "Chat Completions, complete: failed",
        "  answer         Sunny.",
        *failing(MOVED, "one in turn 1, two in turn 2", "replica"),
    ]


async def test_an_error_in_the_stream(fake: FakeVllm, capsys: Printed) -> None:
    async with serving(fake) as gateway:
        broken = events(chunk({"content": "a"}), {"error": {"message": "too hot"}})
        fake.script(called(), Complete(plausible.reply("Sunny.")), broken)
        fake.script(called(), Complete(plausible.reply("Sunny.")), broken)
        status, lines = await tried(capsys, gateway.url)
    assert (status, lines[-1]) == (1, "2 of 4 failed")
    assert lines[5:8] == ["Responses, streamed: failed", *failing(advice.BEHIND, "too hot")]
    assert lines[-4:-1] == [
        "Chat Completions, streamed: failed",
        *failing(advice.BEHIND, "too hot"),
    ]


async def test_a_chat_path_that_is_not_there(fake: FakeVllm, capsys: Printed) -> None:
    fake.script(Status(404, {"detail": "Not Found"}))
    _, lines = await tried(capsys, fake.url)
    assert lines[7:9] == failing(Chat.missing, "404 Not Found")


@pytest.mark.parametrize(
    ("argv", "fault"),
    [
        (["me:pass-1@host"], "argument URL: expected an http or https URL with a host"),
        (
            ["--api-key", "sk-1\n"],
            "the key cannot be sent: it has characters that no header may have",
        ),
        (
            ["http://me:pass-1@host", "--api-key", "sk-1"],
            "a user in the URL, and --api-key: only one of them can be sent",
        ),
    ],
)
def test_bad_arguments_end_it_with_status_2_and_are_not_repeated(
    capsys: Printed, argv: list[str], fault: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"python -m gateway try: error: {fault}"
