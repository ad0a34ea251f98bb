"""From plain values to attrs classes, strictly: nothing is coerced, all faults come at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from types import NoneType, UnionType
from typing import Any, Literal, NewType, TypeVar, Union, get_args, get_origin

import attrs
from cattrs import Converter, ForbiddenExtraKeysError
from cattrs.cols import (
    homogenous_tuple_structure_factory,
    list_structure_factory,
    mapping_structure_factory,
)
from cattrs.errors import CattrsError, ClassValidationError, IterableValidationError
from cattrs.gen import make_dict_structure_fn, override

from gateway.config import units
from gateway.config.units import Mismatch
from gateway.errors import ConfigError
from gateway.masking import is_secret

T = TypeVar("T")
Hook = Callable[[Any, Any], Any]

Url = NewType("Url", str)
"""An address, without ``/v1`` and a trailing slash."""
_TOP = "top level"


def structure_options(cls: type[T], options: Mapping[str, Any], path: str = "") -> T:
    """
    Build ``cls``, an attrs class, from its options.

    ``null`` means the default. A field with ``unit`` in its metadata also takes sizes
    (``bytes``), durations (``seconds``), or one or many addresses (``url``); the values of one
    marked ``secret`` are never quoted. Raises ConfigError, each fault ending with its path
    below ``path``.
    """
    try:
        return _CONVERTER.structure(options, cls)
    except (CattrsError, ValueError) as error:
        raise ConfigError(list(_faults(error, path))) from None


def unknown_key(key: object, known: Sequence[str], path: str) -> str:
    """The fault of a key that nobody reads."""
    close = get_close_matches(str(key), known, 1)
    hint = f", did you mean {close[0]!r}?" if close else ""
    return f"unknown key {key!r}{hint} @ {path or _TOP}"


def below(path: str, step: object) -> str:
    """The path of a key or an index below another one."""
    if isinstance(step, int):
        return f"{path}[{step}]"
    return f"{path}.{step}" if path else str(step)


def _faults(error: BaseException, path: str, secret: bool = False) -> Iterator[str]:
    if isinstance(error, ClassValidationError):
        for inner, attribute in error.group_exceptions()[0]:
            metadata = attrs.fields_dict(error.cl)[attribute.name].metadata
            hidden = secret or bool(metadata.get("secret"))
            yield from _faults(inner, below(path, attribute.name), hidden)
    elif isinstance(error, IterableValidationError):
        for inner, item in error.group_exceptions()[0]:
            hidden = secret or is_secret(item.index)
            yield from _faults(inner, below(path, item.index), hidden)
    if isinstance(error, ClassValidationError | IterableValidationError):
        for inner in error.group_exceptions()[1]:
            yield from _faults(inner, path, secret)
    else:
        yield from _worded(error, path, secret)


def _worded(error: BaseException, path: str, secret: bool) -> Iterator[str]:
    if isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in attrs.fields(error.cl) if field.init]
        for key in sorted(error.extra_fields, key=str):
            yield unknown_key(key, known, path)
    elif isinstance(error, KeyError):
        yield f"required @ {path or _TOP}"
    elif isinstance(error, Mismatch) and secret:
        yield f"expected {error.expected}, got {type(error.value).__name__} @ {path or _TOP}"
    else:  # the validators of attrs keep the message in the first of several arguments
        yield f"{error if isinstance(error, Mismatch) else error.args[0]} @ {path or _TOP}"


def _exactly(kinds: tuple[type, ...], expected: str) -> Hook:
    def structure(value: Any, _: Any) -> Any:
        if type(value) not in kinds:
            raise Mismatch(expected, value)
        return value

    return structure


def _checked(kinds: tuple[type, ...], expected: str, factory: Any) -> Callable[..., Hook]:
    def make(type_: Any, converter: Converter) -> Hook:
        inner = factory(type_, converter)

        def structure(value: Any, _: Any) -> Any:
            if not isinstance(value, kinds):
                raise Mismatch(expected, value)
            return inner(value, type_)

        return structure

    return make


def _literal(type_: Any, converter: Converter) -> Hook:
    allowed = get_args(type_)

    def structure(value: Any, _: Any) -> Any:
        if not any(type(value) is type(one) and value == one for one in allowed):
            raise Mismatch(" or ".join(map(repr, allowed)), value)
        return value

    return structure


def _union(type_: Any, converter: Converter) -> Hook:
    members = [member for member in get_args(type_) if member is not NoneType]
    hooks = [(member, converter.get_structure_hook(member)) for member in members]

    def structure(value: Any, _: Any) -> Any:
        if value is None and NoneType in get_args(type_):
            return None
        expected = []
        for member, hook in hooks:
            try:
                return hook(value, member)
            except Mismatch as error:
                expected.append(error.expected)
        raise Mismatch(" or ".join(expected), value)

    return structure


def _class(cls: type, converter: Converter) -> Hook:
    attrs.resolve_types(cls)
    hooks: dict[str, Any] = {
        field.name: override(struct_hook=partial(_field, field, _reader(field, converter)))
        for field in attrs.fields(cls)
        if field.init
    }
    inner: Hook = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **hooks)

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Mismatch("mapping", value)
        return inner({key: item for key, item in value.items() if item is not None}, cls)

    return structure


def _reader(field: Any, converter: Converter) -> Hook:
    unit = field.metadata.get("unit")
    return _UNITS[unit] if unit else converter.get_structure_hook(field.type)


def _field(field: Any, reader: Hook, value: Any, _: Any) -> Any:
    made = reader(value, field.type)
    if field.validator:  # here, and again by the class, since only here the path is the field's
        field.validator(None, field, made)
    return made


def _urls(value: Any, _: Any) -> Any:
    if isinstance(value, str):
        return (units.root_url(value),)
    return _CONVERTER.structure(value, tuple[Url, ...])


_UNITS: dict[str, Hook] = {
    "bytes": lambda value, _: units.size(value),
    "seconds": lambda value, _: units.seconds(value),
    "url": _urls,
}


def _origin(*origins: Any) -> Callable[[Any], bool]:
    return lambda type_: (get_origin(type_) or type_) in origins


def _make_converter() -> Converter:
    converter = Converter()
    for kind, kinds, expected in [
        (bool, (bool,), "bool"),
        (int, (int,), "int"),
        (float, (float, int), "number"),
        (str, (str,), "str"),
    ]:
        converter.register_structure_hook(kind, _exactly(kinds, expected))
    converter.register_structure_hook(Url, lambda value, _: units.root_url(value))
    lists, mappings = (list, tuple), (Mapping,)
    for predicate, factory in [
        (_origin(object), lambda type_, _: lambda value, _: value),
        (_origin(list), _checked(lists, "list", list_structure_factory)),
        (_origin(tuple, Sequence), _checked(lists, "list", homogenous_tuple_structure_factory)),
        (_origin(dict, Mapping), _checked(mappings, "mapping", mapping_structure_factory)),
        (_origin(Literal), _literal),
        (_origin(Union, UnionType), _union),
        (attrs.has, _class),
    ]:
        converter.register_structure_hook_factory(predicate, factory)
    return converter


_CONVERTER = _make_converter()
