"""The pipeline of a model: which middlewares its calls pass, and in which order."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen, has

from gateway import plugins
from gateway.config import Model
from gateway.config.structure import structure_options
from gateway.core import Middleware
from gateway.errors import ConfigError


@frozen
class Entry:
    """One middleware of a pipeline, its options, and the model's keys that they come from."""

    name: str
    options: Mapping[str, Any] = field(factory=dict)
    keys: tuple[str, ...] = ()


def entries(model: Model, record: str | None = None) -> list[Entry]:
    """
    The middlewares of a model, outermost first: its own list, or what its keys ask for.

    The default order, and why:

    - ``request_log`` and ``record`` first: they see every call as the client does, whatever
      the others do to it;
    - ``length_error`` outside all that rewrite: its reply has no tokens to look for;
    - ``developer_role``, ``chat_template``, ``extra_body`` from the narrow to the wide.
      ``extra_body`` is weaker than all that is set before it;
    - ``sampling_overrides`` after them, so that they win;
    - ``reasoning_tags`` and ``token_ids`` on the body that is really sent, and
      ``misplaced_reasoning`` before tags are looked for in its replies. Token ids are innermost,
      so that nothing has touched the reply before they are gathered.

    A list of the model's own replaces all but ``record``, which then is around it.
    """
    client, replica = _records(record)
    if model.middlewares is not None:
        return [*client, *map(_listed, model.middlewares), *replica]
    return [Entry("request_log"), *client, *_asked_for(model), *replica]


def _records(directory: str | None) -> tuple[list[Entry], list[Entry]]:
    if directory is None:
        return [], []
    client, replica = ({"directory": directory, "at": end} for end in ("client", "replica"))
    return [Entry("record", client)], [Entry("record", replica)]


def _asked_for(model: Model) -> Iterator[Entry]:
    yield Entry(
        "length_error",
        {"propagate": model.propagate_context_overflow_errors},
        ("propagate_context_overflow_errors",),
    )
    if model.replace_developer_role_with_system:
        yield Entry("developer_role", {}, ("replace_developer_role_with_system",))
    yield Entry(
        "chat_template",
        {
            "kwargs": model.chat_template_kwargs or {},
            "forward_request": model.forward_request_chat_template_kwargs,
            "continue_final_message": model.continue_final_assistant_message,
        },
        (
            "chat_template_kwargs",
            "forward_request_chat_template_kwargs",
            "continue_final_assistant_message",
        ),
    )
    yield Entry("extra_body", {"fields": model.extra_body or {}}, ("extra_body",))
    if model.sampling_overrides:
        yield Entry(
            "sampling_overrides", {"fields": model.sampling_overrides}, ("sampling_overrides",)
        )
    yield from _reasoning(model)
    if model.return_token_id_information:
        yield Entry("token_ids", {}, ("return_token_id_information",))
    else:
        yield Entry("strip_token_ids", {}, ("return_token_id_information",))


def _reasoning(model: Model) -> Iterator[Entry]:
    if not model.uses_reasoning_parser:
        yield Entry("reasoning_notice", {}, ("uses_reasoning_parser",))
        return
    yield Entry(
        "reasoning_tags",
        {
            "interleaved": model.uses_interleaved_reasoning,
            "preserve": model.preserve_reasoning_in_assistant_content,
            "field": model.reasoning_field,
        },
        (
            "uses_reasoning_parser",
            "uses_interleaved_reasoning",
            "preserve_reasoning_in_assistant_content",
            "reasoning_field",
        ),
    )
    yield Entry("misplaced_reasoning", {}, ("uses_reasoning_parser",))


def _listed(item: str | Mapping[str, Any]) -> Entry:
    return Entry(*named(item), ("middlewares",))


def named(item: str | Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Name and options of a plugin that is given as a name, or as one name with its options."""
    if isinstance(item, str):
        return item, {}
    [(name, options)] = item.items()
    return name, options or {}


def build(model: Model, path: str, record: str | None = None) -> list[Middleware]:
    """The middlewares; raises ConfigError with every fault in their names and options."""
    built: list[Middleware] = []
    faults: list[str] = []
    for entry in entries(model, record):
        try:
            built.append(plugin(plugins.MIDDLEWARES, entry.name, entry.options, path))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    return built


def plugin(group: str, name: str, options: Mapping[str, Any], path: str) -> Any:
    """An instance of the plugin with these options; a plain function takes none."""
    found = plugins.load(group, name)
    if has(found):
        return structure_options(found, options, f"{path}.{name}")
    if options:
        raise ConfigError(f"{name} takes no options @ {path}.{name}")
    return found() if isinstance(found, type) else found


def tells_reasoning(pipeline: Sequence[Entry]) -> bool:
    """Whether replies of this pipeline carry reasoning apart from content."""
    return any(entry.name == "reasoning_tags" for entry in pipeline)
