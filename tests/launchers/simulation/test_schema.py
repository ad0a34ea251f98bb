"""Small instances of JSON schemas."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launchers.simulation.schema import instance


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (True, None),
        ({}, None),
        ({"const": [1]}, [1]),
        ({"enum": ["red", "blue"]}, "red"),
        ({"type": "null"}, None),
        ({"type": "boolean"}, False),
        ({"type": ["integer", "null"]}, 0),
        ({"type": "string"}, "simulated"),
        ({"type": "string", "maxLength": 3}, "sim"),
        ({"type": "string", "minLength": 11}, "simulated.."),
        ({"type": "array"}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        ({"type": "array", "prefixItems": [{"const": 1}], "minItems": 2}, [1, None]),
        ({"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]}, {"a": 0}),
        ({"type": "object", "required": ["any"]}, {"any": None}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 0),
        ({"oneOf": [{"const": 1}, {"const": 2}]}, 1),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "boolean"}}}, False),
    ],
)
def test_an_instance_has_only_what_the_schema_demands(schema: Any, value: Any) -> None:
    assert instance(schema) == value


@pytest.mark.parametrize(
    ("bounds", "value"),
    [
        ({"minimum": 3}, 3),
        ({"exclusiveMinimum": 3}, 4),
        ({"maximum": -2}, -2),
        ({"exclusiveMaximum": 0}, -1),
        ({"minimum": 5, "multipleOf": 4}, 8),
        ({"minimum": 2.5}, 3),
    ],
)
def test_an_integer_is_within_its_bounds(bounds: dict[str, Any], value: int) -> None:
    assert instance({"type": "integer", **bounds}) == value


def test_a_number_may_lie_between_two_integers() -> None:
    assert instance({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}) == 0.5


def test_all_parts_of_allof_are_demanded() -> None:
    one = {"properties": {"a": {"const": 1}}, "required": ["a"]}
    other = {"properties": {"b": {"const": 2}}, "required": ["b"]}
    schema = {"allOf": [{"$ref": "#/$defs/one"}, other], "$defs": {"one": one}}
    assert instance(schema) == {"b": 2, "a": 1}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$ref": "#"}, "the schema demands too much"),
        ({"type": "array", "minItems": 10**9}, "minItems of 1000000000 is too large"),
        ({"type": "string", "minLength": 10**9}, "minLength of 1000000000 is too large"),
        (
            {"$ref": "other.json"},
            "only references within the schema are followed, not 'other.json'",
        ),
        ({"$ref": "#/$defs/no"}, "the schema has no '#/$defs/no'"),
        ({"type": "integer", "minimum": 1, "maximum": 0}, "no number fits the schema"),
        (False, "a schema must be an object or true"),
    ],
)
def test_a_schema_that_cannot_be_followed_is_an_error(schema: Any, message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace("$", r"\$") + "$"):
        instance(schema)


def test_items_multiply_only_up_to_a_limit() -> None:
    schema: Any = {}
    for _ in range(4):
        schema = {"type": "array", "items": schema, "minItems": 900}
    with pytest.raises(ValueError, match=r"^the schema demands too much$"):
        instance(schema)


KEYS = ["type", "properties", "required", "items", "minItems", "$ref", "anyOf", "allOf", "enum"]
WORDS = st.sampled_from(["object", "array", "integer", "string", "#", "#/properties", "minimum"])
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*KEYS, "minimum", "multipleOf"]), inner, max_size=4),
    ),
    max_leaves=20,
)


@given(ANYTHING)
def test_nonsense_is_at_worst_a_value_error(schema: Any) -> None:
    with suppress(ValueError):
        instance(schema)
