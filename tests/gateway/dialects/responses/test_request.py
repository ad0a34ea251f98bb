"""A request, as the chat request of the same meaning; numbers are those of the checklist."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.chat_request import verify_chat
from gateway.core import Json
from gateway.dialects.responses import Responses
from gateway.errors import BadRequest
from tests import recorded

MESSAGES = [{"role": "user", "content": "Hello"}]


def chat(**body: Any) -> Json:
    """The chat request without its messages."""
    parsed = Responses().parse({"input": "Hello", **body})
    assert parsed.pop("messages") == MESSAGES
    return parsed


def refusal(**body: Any) -> tuple[str, str | None]:
    with pytest.raises(BadRequest) as caught:
        chat(**body)
    return caught.value.message, caught.value.param


def test_what_is_not_set_is_not_sent() -> None:
    """3."""
    assert chat(temperature=None, tools=None, text=None, reasoning=None, include=None) == {}


def test_what_both_apis_know_goes_on() -> None:
    """5."""
    fields: Json = {
        "model": "m",
        "stream": False,
        "temperature": 0.5,
        "top_p": 0.9,
        "user": "u",
        "metadata": {"k": "v"},
        "prompt_cache_key": "p",
    }
    assert chat(**fields) == fields


def test_fields_of_the_engine_reach_it() -> None:
    """4, superseded: there they were refused."""
    fields: Json = {
        "top_k": 5,
        "seed": 1,
        "stop": ["x"],
        "min_tokens": 2,
        "chat_template_kwargs": {"a": 1},
        "made_up": [None],
    }
    assert chat(**fields) == fields


def test_the_limit_and_the_effort_have_other_names() -> None:
    """46."""
    sent = {"max_tokens": 7, "reasoning_effort": "low"}
    assert chat(max_output_tokens=7, reasoning={"effort": "low", "summary": "auto"}) == sent


def test_a_schema_becomes_a_response_format() -> None:
    """51; there it was lost."""
    schema = {"name": "s", "schema": {"type": "object"}, "strict": True, "description": "d"}
    assert chat(text={"format": {"type": "json_schema", **schema}}) == {
        "response_format": {"type": "json_schema", "json_schema": schema}
    }


def test_a_json_object_becomes_a_response_format() -> None:
    """51."""
    assert chat(text={"format": {"type": "json_object"}}) == {
        "response_format": {"type": "json_object"}
    }


@pytest.mark.parametrize("text", [{}, {"format": None}, {"format": {"type": "text"}}])
def test_plain_text_needs_no_response_format(text: Json) -> None:
    assert chat(text={**text, "verbosity": "low"}) == {}


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"top_logprobs": 2}, {"top_logprobs": 2, "logprobs": True}),
        ({"top_logprobs": 0}, {"top_logprobs": 0}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"include": ["reasoning.encrypted_content"]}, {}),
    ],
)
def test_log_probabilities_are_asked_for_in_either_way(fields: Json, sent: Json) -> None:
    assert chat(**fields) == sent


@pytest.mark.parametrize(
    "hint",
    [
        {"store": True},
        {"service_tier": "flex"},
        {"safety_identifier": "s"},
        {"max_tool_calls": 3},
        {"truncation": "disabled"},
        {"background": False},
        {"stream_options": {"include_obfuscation": False}},
        {"prompt_cache_retention": "24h"},
        {"prompt_cache_options": {"mode": "implicit"}},
        {"previous_response_id": None},
    ],
)
def test_hints_are_accepted_and_not_sent(hint: Json) -> None:
    assert chat(**hint) == {}


def test_one_choice_is_what_there_is_anyway() -> None:
    assert chat(n=1) == {"n": 1}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"previous_response_id": "r"},
            "previous_response_id is not supported: nothing is stored here",
        ),
        ({"conversation": "c"}, "conversation is not supported: nothing is stored here"),
        ({"prompt": {"id": "p"}}, "prompt is not supported: nothing is stored here"),
        ({"messages": MESSAGES}, "messages is not supported: they are called input here"),
        ({"background": True}, "background must be false: nothing is stored here"),
        ({"truncation": "auto"}, "truncation must be disabled"),
        ({"n": 2}, "n must be 1: a response is one choice"),
        ({"input": None}, "input is required"),
        ({"input": 5}, "input must be an array or a string, not an integer"),
        ({"stream": "false"}, "stream must be a boolean, not a string"),
        ({"max_output_tokens": "7"}, "max_output_tokens must be an integer, not a string"),
        ({"logprobs": 5}, "logprobs must be a boolean, not an integer"),
        ({"instructions": []}, "instructions must be a string, not an array"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(fields: Json, message: str) -> None:
    assert refusal(**fields) == (message, next(iter(fields)))


@pytest.mark.parametrize(
    ("format", "message", "param"),
    [
        (
            {"type": "grammar"},
            "text.format.type must be text, json_object or json_schema",
            "text.format.type",
        ),
        ({"name": "s"}, "text.format.type is required", "text.format.type"),
        (
            {"type": "json_schema", "schema": "x"},
            "text.format.schema must be an object, not a string",
            "text.format.schema",
        ),
    ],
)
def test_a_format_without_a_meaning_is_refused(format: Json, message: str, param: str) -> None:
    assert refusal(text={"format": format}) == (message, param)


@pytest.mark.parametrize("name", recorded.names("responses-", path="/v1/responses", status=200))
def test_what_the_engine_itself_accepts_and_says_is_accepted(name: str) -> None:
    verify_chat(Responses().parse(recorded.request(name)))
    if not recorded.streamed(name):
        output = recorded.body(name)["output"]
        [message] = Responses().parse({"input": output})["messages"]
        assert message["content"] or message["tool_calls"]


def test_a_request_is_not_changed_in_place() -> None:
    body = {"input": [{"role": "user", "content": "x"}], "max_output_tokens": 7, "seed": None}
    before = deepcopy(body)
    Responses().parse(body)
    assert body == before


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def some(keys: str, **values: Any) -> st.SearchStrategy[Json]:
    """Objects with these fields, of any value or of one that is close to right."""
    fields = dict.fromkeys(keys.split(), VALUES)
    return st.fixed_dictionaries({}, optional=fields | values)


def near(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values) | VALUES


PARTS = some(
    "image_url input_audio video video_url detail refusal",
    type=near("input_text", "output_text", "input_image", "input_audio", "input_video", "refusal"),
    text=near("x"),
)
CONTENT = near("x") | st.lists(PARTS | VALUES, max_size=2)
ITEMS = some(
    "encrypted_content namespace id status prompt_token_ids",
    type=near("message", "reasoning", "function_call", "function_call_output", "item_reference"),
    role=near("user", "assistant", "developer", "system", "tool"),
    content=CONTENT,
    output=CONTENT,
    summary=CONTENT,
    tool_calls=near([], [{}]),
    call_id=near("a"),
    tool_call_id=near("a"),
    name=near("f"),
    arguments=near("{}"),
)
FUNCTIONS = some(
    "description parameters strict", type=near("function", "custom"), name=near("f", "g")
)
TOOLS = FUNCTIONS | some(
    "description",
    type=near("namespace", "web_search"),
    name=near("ns"),
    tools=st.lists(FUNCTIONS | VALUES, max_size=2),
)
CHOICES = near("auto", "required") | some(
    "namespace",
    type=near("function", "allowed_tools"),
    name=near("f"),
    mode=near("auto", "required"),
    tools=st.lists(FUNCTIONS | VALUES, max_size=2),
)
BODIES = some(
    "instructions model stream max_output_tokens top_logprobs parallel_tool_calls background n "
    "include metadata user prompt_cache_key truncation chat_template_kwargs previous_response_id "
    "conversation prompt store safety_identifier max_tool_calls stream_options "
    "messages logprobs reasoning_effort temperature",
    input=near("x") | st.lists(ITEMS | VALUES, max_size=4),
    tools=st.lists(TOOLS | VALUES, max_size=3) | VALUES,
    tool_choice=CHOICES,
    text=some("verbosity", format=some("name schema strict", type=near("json_schema"))) | VALUES,
    reasoning=some("effort summary") | VALUES,
)


def check(body: Json, drop: bool) -> None:
    """A chat request comes of it, or an error with the name of a field."""
    dialect = Responses("drop" if drop else "error")
    try:
        chat = dialect.parse(body)
    except BadRequest as error:
        named = error.param or ""
    else:
        verify_chat(chat)
        dialect.encoder(body, chat, "call-1")
        named = "input"
    assert named.split("[")[0].split(".")[0] in (*body, "input", "tool_choice")


@pytest.mark.parametrize("drop", [False, True])
@settings(max_examples=400)
@given(body=BODIES)
def test_whatever_comes_is_refused_by_name_or_a_chat_request(body: Json, drop: bool) -> None:
    check(body, drop)


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


DEEP = nested(900)
NESTED: dict[str, Json] = {
    "item": {"input": [{"type": DEEP}]},
    "role": {"input": [{"role": DEEP}]},
    "part": {"input": [{"role": "user", "content": [{"type": "x", "file": DEEP}]}]},
    "call": {"input": [{"type": "function_call_output", "call_id": DEEP, "output": [{}]}]},
    "tool": {"input": "x", "tools": [{"type": "function", "name": DEEP}]},
    "tool type": {"input": "x", "tools": [{"type": DEEP}]},
    "name": {"input": "x", "tool_choice": {"type": "function", "name": DEEP}},
    "namespace": {"input": "x", "tool_choice": {"type": "function", "namespace": DEEP}},
    "choice": {"input": "x", "tool_choice": {"type": DEEP}},
    "n": {"input": "x", "n": DEEP},
    "truncation": {"input": "x", "truncation": DEEP},
    "include": {"input": "x", "include": [DEEP]},
}


@pytest.mark.parametrize("where", NESTED)
def test_deep_recursion_is_refused_by_name_or_passed_on(where: str) -> None:
    check(NESTED[where], drop=False)
