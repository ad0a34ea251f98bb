"""JSON in and out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec import Raw, decode, decode_request, encode
from gateway.core import Json
from gateway.errors import BadRequest

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text()
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | NUMBERS, lambda v: st.lists(v) | st.dictionaries(st.text(), v), max_leaves=20
)


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


@given(VALUES)
def test_what_was_encoded_is_decoded(value: object) -> None:
    assert decode(encode(value)) == value


@given(VALUES)
def test_what_is_written_already_is_written_as_it_is(value: object) -> None:
    assert encode({"a": [Raw(encode(value))]}) == encode({"a": [value]})


def test_text_leaves_as_utf_8() -> None:
    assert encode({"a": "日本"}) == '{"a":"日本"}'.encode()


@pytest.mark.parametrize("raw", [b"", b"{", b"[NaN]", b"{}{}", b'"\xff"', b'"\\ud800"', b"'a'"])
def test_what_is_no_json_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"line 1 column|end of data|empty"):
        decode(raw)


@pytest.mark.parametrize("raw", [b"", b"{", b'{"a": NaN}', b'{"a": "\xff"}'])
def test_a_request_that_is_no_json_is_the_clients_fault(raw: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^the body is not valid JSON: "):
        decode_request(raw)


@pytest.mark.parametrize("raw", [b"[]", b"null", b'"a"', b"1"])
def test_a_request_must_be_an_object(raw: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^the body must be a JSON object$"):
        decode_request(raw)


def test_a_request_is_decoded() -> None:
    assert decode_request(b'{"model": "m"}') == {"model": "m"}


def test_a_request_may_be_as_deep_as_can_be_written() -> None:
    assert encode(decode_request(nested(254))) == nested(254)


@pytest.mark.parametrize("levels", [255, 300, 1025, 100_000])
def test_a_deeper_request_is_refused_and_the_limit_is_named(levels: int) -> None:
    with pytest.raises(BadRequest, match=r"^the body is nested deeper than 254 levels$"):
        decode_request(nested(levels))


def test_what_became_too_deep_on_its_way_is_the_clients_fault() -> None:
    body: Json = decode_request(nested(254))
    with pytest.raises(BadRequest, match=r"^the request cannot be sent on: Recursion limit"):
        encode({"more": body})


NUMBERS_OF = {
    "prompt_token_ids": list(range(4000)),
    "generation_token_ids": [7, 8, 9],
    "generation_log_probs": [-0.5, -1e-05, None],
}


@pytest.mark.parametrize("name", ["messages", "input"])
def test_the_arrays_of_a_history_are_not_decoded(name: str) -> None:
    items = [{"role": "user", "content": "[1]"}, {"role": "assistant", **NUMBERS_OF}]
    raw = json.dumps({name: items}).encode()
    body = decode_request(raw)
    assert [type(body[name][1][key]) for key in NUMBERS_OF] == [Raw, Raw, Raw]
    assert decode(encode(body)) == decode(raw)


MANY = list(range(4000))
ODD = [
    {"messages": [{"prompt_token_ids": MANY, "x": {"generation_token_ids": [1]}}]},
    {"messages": [{"prompt_token_ids": 0}, {"prompt_token_ids": MANY}]},
    {"messages": [{"prompt_token_ids": MANY}, {"generation_token_ids": 0}]},
    {"messages": [{"prompt_token_ids": [MANY, [1]]}]},
    {"messages": [{"prompt_token_ids": ["]", "ü"], "x": MANY}]},
    {"messages": ["x"], "input": MANY, "prompt_token_ids": [1]},
    {"messages": [{"content": '"prompt_token_ids":[1]', "prompt_token_ids": MANY}]},
]


@pytest.mark.parametrize("body", ODD)
def test_arrays_elsewhere_and_of_another_shape_are_as_they_came(body: Json) -> None:
    assert decode(encode(decode_request(encode(body)))) == body


@pytest.mark.parametrize("array", [b"[1,,2]", b"[01]", b"[NaN]", b'["\xff"]', b"[1"])
def test_an_array_that_is_no_json_is_the_clients_fault(array: bytes) -> None:
    raw = b'{"messages":[{"generation_token_ids":%b}],"x":%b}' % (array, encode(MANY))
    with pytest.raises(BadRequest, match=r"^the body is not valid JSON: "):
        decode_request(raw)
