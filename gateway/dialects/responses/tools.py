"""Tools and the choice among them, in both directions."""

from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from gateway.core import Json
from gateway.errors import BadRequest
from gateway.shapes import Check, a, an_object, each

OFFERED = ("function", "namespace")
"""The types of tools that the engine can be told of."""
JOINT = "__"
"""Between the namespace and the name of a function that is in one."""

_FUNCTION: Mapping[str, Check] = {
    "type": a(str),
    "name": a(str),
    "description": a(str),
    "parameters": a(dict),
    "strict": a(bool),
}
_FUNCTION_TOOL = an_object(_FUNCTION, required=("name",))
_NAMESPACE = an_object(
    {"name": a(str), "tools": each(an_object(_FUNCTION, required=("type", "name")))},
    required=("name",),
)
_NAMED = {"type": a(str), "name": a(str), "namespace": a(str)}
_CHOICE = an_object({**_NAMED, "mode": a(str), "tools": each(an_object(_NAMED))})


@frozen
class Tools:
    """The functions that a request offers, by the names that the engine knows them by."""

    functions: Mapping[str, Json]
    """Chat tools."""
    namespaces: Mapping[str, tuple[str, str]]
    """Namespace and name of those that are in one."""
    choice: str | Json | None = None
    """In its chat form."""
    dropped: Sequence[str] = ()
    """The types of those that are left out."""

    @classmethod
    def of(cls, body: Json, drop: bool) -> "Tools":
        """
        The tools of a Responses request.

        ``drop`` leaves out what only OpenAI can run; else it is refused.
        """
        tools = body.get("tools") or []
        if not tools and body.get("tool_choice") is None:
            return _NONE
        others = [(i, tool) for i, tool in enumerate(tools) if tool["type"] not in OFFERED]
        if others and not drop:
            raise _unsupported(others[0][1], f"tools[{others[0][0]}]")
        functions: dict[str, Json] = {}
        namespaces: dict[str, tuple[str, str]] = {}
        for tool, path, space in _flat(tools):
            name = joined(tool["name"], space)
            if name in functions:
                raise BadRequest(f"{path}.name is there twice: {name!r}", param=f"{path}.name")
            functions[name] = _chat_tool(tool, name)
            if space is not None:
                namespaces[name] = (space, tool["name"])
        allowed, choice = _chosen(body.get("tool_choice"), functions)
        return cls(allowed, namespaces, choice, [tool["type"] for _, tool in others])

    def chat(self) -> Json:
        """The fields of the chat request; without tools there is nothing to choose."""
        if not self.functions:
            return {}
        choice = {} if self.choice is None else {"tool_choice": self.choice}
        return {"tools": list(self.functions.values()), **choice}

    def split(self, name: str) -> Json:
        """The name of a called function as the client knows it."""
        if name not in self.namespaces:
            return {"name": name}
        space, own = self.namespaces[name]
        return {"name": own, "namespace": space}


_NONE = Tools({}, {})


def _flat(tools: list[Json]) -> Iterator[tuple[Json, str, str | None]]:
    """Function tools with their paths and namespaces."""
    for i, tool in enumerate(tools):
        path, kind = f"tools[{i}]", tool["type"]
        if kind == "function":
            _FUNCTION_TOOL(tool, path)
            yield tool, path, None
        elif kind == "namespace":
            _NAMESPACE(tool, path)
            for j, inner in enumerate(tool.get("tools") or []):
                if inner["type"] != "function":
                    raise _unsupported(inner, f"{path}.tools[{j}]")
                yield inner, f"{path}.tools[{j}]", tool["name"]


def _unsupported(tool: Json, path: str) -> BadRequest:
    message = f"{path} is of type {tool['type']!r}; only functions are supported"
    return BadRequest(message, param=f"{path}.type")


def joined(name: str, space: str | None) -> str:
    """The name of a function in a namespace, as the engine knows it."""
    return f"{space}{JOINT}{name}" if space else name


def _chat_tool(tool: Json, name: str) -> Json:
    known = ("description", "parameters", "strict")
    function = {k: tool[k] for k in known if tool.get(k) is not None}
    return {"type": "function", "function": {"name": name, **function}}


Chosen = tuple[Mapping[str, Json], str | Json | None]
"""The functions that may be called, and the choice in its chat form."""


def _chosen(choice: str | Json | None, functions: Mapping[str, Json]) -> Chosen:
    if choice is None or isinstance(choice, str):
        return _checked(functions, choice)
    _CHOICE(choice, "tool_choice")
    match choice.get("type"):
        case "function":
            name = _known(choice, functions, "tool_choice")
            return functions, {"type": "function", "function": {"name": name}}
        case "allowed_tools":
            return _checked(_allowed(choice, functions), choice.get("mode") or "auto")
    kind = choice.get("type")
    raise BadRequest(f"tool_choice of type {kind!r} is not supported", param="tool_choice.type")


def _checked(functions: Mapping[str, Json], choice: str | None) -> Chosen:
    if choice == "required" and not functions:
        raise BadRequest("tool_choice is required, but there are no tools", param="tool_choice")
    return functions, choice


def _allowed(choice: Json, functions: Mapping[str, Json]) -> Mapping[str, Json]:
    listed = choice.get("tools") or []
    names = [_known(tool, functions, f"tool_choice.tools[{i}]") for i, tool in enumerate(listed)]
    return {name: functions[name] for name in names}


def _known(tool: Json, functions: Mapping[str, Json], path: str) -> str:
    name = joined(tool.get("name") or "", tool.get("namespace"))
    if name not in functions:
        raise BadRequest(f"{path} names no function of tools: {name!r}", param=f"{path}.name")
    return name
