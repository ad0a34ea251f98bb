"""What a value of the right type must be besides; worded for the configuration's faults."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from attrs import Attribute

from gateway.masking import shown

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2, and RFC 6265 4.1.1
_HEADER = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 5.5

Rule = Callable[[Any, "Attribute[Any]", Any], None]


def must_be(wording: str, rule: Callable[[Any], bool]) -> Rule:
    """A validator that raises ValueError with the field's name."""

    def check(_: object, field: "Attribute[Any]", value: Any) -> None:
        if not rule(value):
            raise ValueError(f"{field.name} must be {wording}, got {shown(value)}")

    return check


def fits_header(value: str) -> bool:
    """Whether HTTP can carry it as the value of a header."""
    return _HEADER.fullmatch(value) is not None


def header(_: object, field: "Attribute[Any]", value: str | None) -> None:
    """A value that HTTP can carry; it is not quoted, since it may be secret."""
    if not fits_header(value or ""):
        raise ValueError(f"{field.name} cannot stand in a header")


def headers(_: object, field: "Attribute[Any]", value: Mapping[str, str]) -> None:
    """Names and values that HTTP can carry; values are not quoted, since they may be secret."""
    for name, content in value.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a header")
        if not fits_header(content):
            raise ValueError(f"the value of {name!r} cannot stand in a header")


positive = must_be("more than 0", lambda value: value is None or value > 0)
workers = must_be("more than 0", lambda value: value == "auto" or value > 0)
all_positive = must_be("numbers more than 0", lambda values: all(v > 0 for v in values.values()))
not_negative = must_be("at least 0", lambda value: value >= 0)
not_empty = must_be("more than an empty string", lambda value: value != "")
port = must_be("between 0 and 65535", lambda value: 0 <= value <= 65535)
token = must_be("of letters, digits and !#$%&'*+-.^_`|~", lambda value: _is_token(value))
tokens = must_be("names of headers", lambda values: all(map(_is_token, values)))
plugin = must_be("a name, or one name with its options", lambda value: _is_plugin(value))
plugins = must_be(
    "a list of names, or of one name with its options each",
    lambda values: all(map(_is_plugin, values or ())),
)


def _is_token(value: str) -> bool:
    return _TOKEN.fullmatch(value) is not None


def _is_plugin(value: object) -> bool:
    """The options, if any, are looked at when the plugin is made."""
    return not isinstance(value, Mapping) or len(value) == 1
