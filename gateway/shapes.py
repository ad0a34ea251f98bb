"""Types of the request fields that the pipeline reads; what else there is, the engine checks."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.core import Json
from gateway.errors import BadRequest

Check = Callable[[Any, str], None]

_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
}


def a(*types: type) -> Check:
    """A value of one of these JSON types. (In Python, but not in JSON, a boolean is a number.)"""
    wanted = " or ".join(_NAMES[t] for t in types)

    def check(value: Any, path: str) -> None:
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise BadRequest(f"{path} must be {wanted}, not {_name(value)}", param=path)

    return check


def each(item: Check, otherwise: tuple[type, ...] = ()) -> Check:
    """An array of which each item passes; or, untouched, a value of one of the other types."""
    array = a(list, *otherwise)

    def check(value: Any, path: str) -> None:
        array(value, path)
        for i, member in enumerate(value if isinstance(value, list) else ()):
            item(member, f"{path}[{i}]")

    return check


def an_object(fields: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    """An object whose known fields pass, where they are neither missing nor null."""
    is_object = a(dict)

    def check(value: Any, path: str) -> None:
        is_object(value, path)
        verify(value, fields, required, f"{path}.")

    return check


def verify(
    body: Json, fields: Mapping[str, Check], required: tuple[str, ...] = (), prefix: str = ""
) -> None:
    """Raise BadRequest for the first field that is missing or has a wrong type."""
    for name in required:
        if body.get(name) is None:
            raise BadRequest(f"{prefix}{name} is required", param=f"{prefix}{name}")
    for name, check in fields.items():
        if body.get(name) is not None:
            check(body[name], f"{prefix}{name}")


def _name(value: Any) -> str:
    return next(
        (n for t, n in _NAMES.items() if type(value) is t), "null" if value is None else "a number"
    )
