"""A small valid instance of a JSON schema."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import ge, gt, le, lt
from typing import Any

from gateway.core import Json

TEXT = "simulated"
LONGEST = 1000
"""The most characters or items that a schema may demand."""


def instance(schema: Any) -> Any:
    """
    A value with nothing in it that the schema does not demand.

    ``pattern``, ``format``, ``not`` and conditions are not looked at. Raises ValueError for a
    schema that is none, that no finite value fits, or that demands a huge one.
    """
    try:
        return _instance(schema, schema, iter(range(10 * LONGEST)))
    except (OverflowError, RecursionError):
        raise ValueError("the schema demands too much") from None


def _instance(schema: Any, root: Any, steps: Iterator[int]) -> Any:
    if next(steps, None) is None:
        raise ValueError("the schema demands too much")
    if schema is True:
        return None
    if not isinstance(schema, dict):
        raise ValueError("a schema must be an object or true")

    def inner(part: Any) -> Any:
        return _instance(part, root, steps)

    given = _given(schema)
    return given[0] if given else _chosen(schema, root, inner)


def _given(schema: Json) -> list[Any]:
    if "const" in schema:
        return [schema["const"]]
    allowed = schema.get("enum")
    return allowed[:1] if isinstance(allowed, list) else []


def _chosen(schema: Json, root: Any, inner: Callable[[Any], Any]) -> Any:
    if "$ref" in schema:
        return inner(_target(schema["$ref"], root))
    for key in ("anyOf", "oneOf"):
        if options := schema.get(key):
            return inner(_merged(schema, key, _list(options)[:1]))
    if parts := schema.get("allOf"):
        return inner(_merged(schema, "allOf", [_resolved(part, root) for part in _list(parts)]))
    make = _BY_TYPE.get(_type(schema))
    return make(schema, inner) if make else None


def _target(ref: Any, root: Any) -> Any:
    if not isinstance(ref, str) or not ref.startswith("#"):
        raise ValueError(f"only references within the schema are followed, not {ref!r}")
    found = root
    for name in ref.split("/")[1:]:
        if not isinstance(found, dict) or name not in found:
            raise ValueError(f"the schema has no {ref!r}")
        found = found[name]
    return found


def _resolved(schema: Any, root: Any) -> Any:
    if isinstance(schema, dict) and "$ref" in schema:
        return _target(schema["$ref"], root)
    return schema


def _merged(schema: Json, key: str, parts: list[Any]) -> Json:
    merged = {k: v for k, v in schema.items() if k != key}
    for part in parts:
        merged = {**merged, **_object(part), **_joined(merged, _object(part))}
    return merged


def _joined(one: Json, other: Json) -> Json:
    properties = {**_object(one.get("properties")), **_object(other.get("properties"))}
    required = [*_list(one.get("required")), *_list(other.get("required"))]
    return {k: v for k, v in (("properties", properties), ("required", required)) if v}


def _type(schema: Json) -> str:
    declared = schema.get("type")
    if isinstance(declared, list):
        declared = declared[0] if declared else None
    if isinstance(declared, str):
        return declared
    return "object" if "properties" in schema else "null"


def _of_object(schema: Json, inner: Callable[[Any], Any]) -> Json:
    properties = _object(schema.get("properties"))
    names = [name for name in _list(schema.get("required")) if isinstance(name, str)]
    return {name: inner(properties.get(name, True)) for name in names}


def _of_array(schema: Json, inner: Callable[[Any], Any]) -> list[Any]:
    first = _list(schema.get("prefixItems"))
    rest = schema.get("items", True)
    kinds = [*first, *[rest] * (_count(schema, "minItems") - len(first))]
    return [inner(kind) for kind in kinds[: _count(schema, "minItems")]]


def _of_string(schema: Json, _: Callable[[Any], Any]) -> str:
    longest = _count(schema, "maxLength", len(TEXT))
    return TEXT[:longest].ljust(_count(schema, "minLength"), ".")


def _of_number(schema: Json, _: Callable[[Any], Any]) -> int | float:
    return _smallest_fitting(schema, _near(schema))


def _of_integer(schema: Json, _: Callable[[Any], Any]) -> int:
    whole = (int(number) for number in _near(schema) if number == int(number))
    return int(_smallest_fitting(schema, whole))


def _near(schema: Json) -> Iterator[int | float]:
    step = _number(schema, "multipleOf") or 1
    ends = [end for key in _BOUNDS if (end := _number(schema, key)) is not None]
    yield 0
    yield from (end // step * step + away for end in ends for away in (-step, 0, step))
    yield from (sum(ends) / len(ends) for _ in ends[1:])


def _smallest_fitting(schema: Json, numbers: Iterable[int | float]) -> int | float:
    bounds = [(fits, _number(schema, key)) for key, fits in _BOUNDS.items()]
    fitting = [n for n in numbers if all(b is None or fits(n, b) for fits, b in bounds)]
    if not fitting:
        raise ValueError("no number fits the schema")
    return min(fitting, key=abs)


_BOUNDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "minimum": ge,
    "exclusiveMinimum": gt,
    "maximum": le,
    "exclusiveMaximum": lt,
}


_BY_TYPE: Mapping[str, Callable[[Json, Callable[[Any], Any]], Any]] = {
    "object": _of_object,
    "array": _of_array,
    "string": _of_string,
    "number": _of_number,
    "integer": _of_integer,
    "boolean": lambda *_: False,
}


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(schema: Json, key: str) -> int | float | None:
    value = schema.get(key)
    return value if type(value) in (int, float) else None


def _count(schema: Json, key: str, default: int = 0) -> int:
    value = _number(schema, key)
    count = default if value is None else int(value)
    if count > LONGEST and key.startswith("min"):
        raise ValueError(f"{key} of {count} is too large")
    return max(0, count)
