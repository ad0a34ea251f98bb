"""Types of the request fields that the pipeline reads; what else there is, the engine checks."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.core import Json
from gateway.errors import BadRequest

Path = str | tuple["Path", str | int]
"""Where a value is: in words, or what it is in and its name or number there."""
Check = Callable[[Any, Path], None]

_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
}


def a(*types: type) -> Check:
    """A value of just one of these types: in Python, but not in JSON, a boolean is a number."""
    wanted = " or ".join(_NAMES[t] for t in types)

    def check(value: Any, path: Path) -> None:
        if type(value) not in types:
            where = _words(path)
            raise BadRequest(f"{where} must be {wanted}, not {_name(value)}", param=where)

    return check


def _words(path: Path) -> str:
    """Only wanted of what is wrong: a conversation has thousands of values."""
    if isinstance(path, str):
        return path
    outer, name = _words(path[0]), path[1]
    return f"{outer}[{name}]" if isinstance(name, int) else f"{outer}.{name}".lstrip(".")


def each(item: Check, otherwise: tuple[type, ...] = ()) -> Check:
    """An array of which each item passes; or, untouched, a value of one of the other types."""
    array = a(list, *otherwise)

    def check(value: Any, path: Path) -> None:
        if isinstance(value, list):
            for i, member in enumerate(value):
                item(member, (path, i))
        else:
            array(value, path)

    return check


def an_object(fields: Mapping[str, Check], required: tuple[str, ...] = ()) -> Check:
    """An object whose known fields pass, where they are neither missing nor null."""
    is_object = a(dict)

    def check(value: Any, path: Path) -> None:
        if not isinstance(value, dict):
            is_object(value, path)
        verify(value, fields, required, path)

    return check


def verify(
    body: Json, fields: Mapping[str, Check], required: tuple[str, ...] = (), path: Path = ""
) -> None:
    """Raise BadRequest for the first field that is missing or has a wrong type."""
    for name in required:
        if body.get(name) is None:
            where = _words((path, name))
            raise BadRequest(f"{where} is required", param=where)
    for name, value in body.items():  # it has fewer fields than are known
        if value is not None and name in fields:
            fields[name](value, (path, name))


def _name(value: Any) -> str:
    return next(
        (n for t, n in _NAMES.items() if type(value) is t), "null" if value is None else "a number"
    )
