"""Types of request fields."""

from typing import Any

import pytest

from gateway.errors import BadRequest
from gateway.shapes import a, an_object, each, verify


def fault(value: Any, *types: type) -> str:
    with pytest.raises(BadRequest) as caught:
        a(*types)(value, "field")
    assert caught.value.param == "field"
    return caught.value.message


@pytest.mark.parametrize(
    ("value", "kind"),
    [("x", str), (1, int), (True, bool), ([], list), ({}, dict), (10**30, int)],
)
def test_a_value_of_the_type_passes(value: Any, kind: type) -> None:
    a(kind)(value, "field")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1, "field must be a string, not an integer"),
        (1.5, "field must be a string, not a number"),
        (True, "field must be a string, not a boolean"),
        (None, "field must be a string, not null"),
        ([], "field must be a string, not an array"),
        ({}, "field must be a string, not an object"),
    ],
)
def test_the_message_names_both_types(value: Any, message: str) -> None:
    assert fault(value, str) == message


def test_a_boolean_is_no_number_and_a_number_no_boolean() -> None:
    assert fault(True, int) == "field must be an integer, not a boolean"
    assert fault(1, bool) == "field must be a boolean, not an integer"


def test_several_types_are_all_named() -> None:
    assert fault(1, str, dict) == "field must be a string or an object, not an integer"


def test_each_names_the_position() -> None:
    with pytest.raises(BadRequest) as caught:
        each(a(str))(["x", 5], "stop")
    assert caught.value.message == "stop[1] must be a string, not an integer"
    assert caught.value.param == "stop[1]"


def test_each_may_let_another_type_through() -> None:
    each(a(dict), otherwise=(str,))("text", "content")
    with pytest.raises(BadRequest, match="content must be an array or a string, not an integer"):
        each(a(dict), otherwise=(str,))(5, "content")


def test_an_object_names_the_path_of_a_field() -> None:
    with pytest.raises(BadRequest) as caught:
        an_object({"inner": an_object({"x": a(int)})})({"inner": {"x": "1"}}, "outer")
    assert caught.value.param == "outer.inner.x"


def test_a_required_field_is_neither_missing_nor_null() -> None:
    for body in ({}, {"role": None}):
        with pytest.raises(BadRequest, match="role is required"):
            verify(body, {"role": a(str)}, required=("role",))


def test_fields_that_are_null_missing_or_unknown_pass() -> None:
    verify({"x": None, "other": 5}, {"x": a(str), "y": a(str)})
