"""What of a configuration is shown in place of its secrets."""

import re
from collections.abc import Mapping
from typing import Any

_USER = re.compile(r"://[^/\s]*@")
_SECRET = re.compile(
    r"headers|authorization|(.*_)?(api)?(key|secret|token|passw(or)?d|credentials?)", re.IGNORECASE
)
"""Options of plugins and variables of an environment, whose secrets nobody has declared."""


def without_user(text: str) -> str:
    """The text with ``user:password`` of every URL in it hidden."""
    return _USER.sub("://***@", text)


def without_key(text: str, key: str | None) -> str:
    """The text with the key hidden, which servers like to repeat when it is wrong."""
    return text.replace(key, "***") if key else text


def is_secret(name: object) -> bool:
    """Whether something of that name is usually a secret."""
    return _SECRET.fullmatch(str(name)) is not None


def masked(value: Any) -> Any:
    """The options of a plugin, with all that is below a key with the name of a secret hidden."""
    if isinstance(value, Mapping):
        return {
            key: hidden(item) if is_secret(key) else masked(item) for key, item in value.items()
        }
    return [masked(item) for item in value] if isinstance(value, list | tuple) else value


def hidden(value: Any) -> Any:
    """Nothing of the value; of a mapping its keys."""
    return dict.fromkeys(value, "***") if isinstance(value, Mapping) else "***"


def shown(value: Any) -> str:
    """The options of a plugin in one line."""
    return without_user(repr(masked(value)))
