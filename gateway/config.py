"""The typed configuration; every key is documented where it is declared."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import yaml
from attrs import evolve, field, fields, frozen, has
from omegaconf import DictConfig, OmegaConf

from gateway import blocks, chain, gym, rules
from gateway.blocks import Block
from gateway.chain import Chained, collecting
from gateway.errors import ConfigError
from gateway.resolve import resolve
from gateway.structure import structure_options, unknown_key
from gateway.units import without_user

Options = Mapping[str, Any]

_VARIABLES = ("policy_base_url", "policy_api_key", "policy_model_name")
_VARIABLE = re.compile(r"\$\{([\w-]+)")


@frozen
class Listen:
    """Where the gateway listens."""

    host: str = field(default="127.0.0.1", validator=rules.not_empty)
    port: int = field(default=8000, validator=rules.port)
    """0 takes any that is free."""


@frozen
class Sessions:
    """How a session is known, and how long it is remembered."""

    headers: tuple[str, ...] = field(
        default=("X-Session-ID", "session-id", "X-Claude-Code-Session-Id"), validator=rules.tokens
    )
    """Request headers that may carry the session id, the first one that is there counts."""
    cookie: str = field(default="gym_gateway", validator=rules.token)
    secret: str | None = field(
        default=None, repr=False, validator=rules.not_empty, metadata={"secret": True}
    )
    """Signs the cookie; gateways that share it honour each other's. Made at start if unset."""
    spill_above: int = field(default=32, validator=rules.positive)
    """Concurrent calls above which a session known only by cookie or cache key is dealt out."""
    idle: float = field(default=86400.0, validator=rules.positive, metadata={"unit": "seconds"})
    """Seconds without a call after which a session is forgotten."""
    max: int = field(default=1_000_000, validator=rules.positive)
    """Sessions remembered per model; beyond that the longest unused is forgotten."""


@frozen
class Limits:
    """What a request may cost."""

    body: int = field(default=64 * 2**20, validator=rules.positive, metadata={"unit": "bytes"})
    """Bytes of a request body."""
    connect_timeout: float = field(
        default=10.0, validator=rules.positive, metadata={"unit": "seconds"}
    )
    """Seconds to wait for a replica to take a connection."""


@frozen
class Model:
    """One model: its replicas, and what is done to its calls."""

    base_url: tuple[str, ...] = field(default=(), metadata={"unit": "url"})
    """The replicas, one string or a list; kept without the ``/v1`` that they may end in."""
    api_key: str | None = field(default=None, repr=False, metadata={"secret": True})
    """Sent to the replicas as a Bearer token."""
    model: str | None = None
    """The name that the replicas know the model by; asked of the first one if unset."""
    return_token_id_information: bool = False
    """Put the token ids and log probabilities of prompt and generation on the message."""
    uses_reasoning_parser: bool = False
    """Tell reasoning from content, in the engine's field or in ``<think>`` tags."""
    uses_interleaved_reasoning: bool = True
    """Send the reasoning of the history back to the engine."""
    preserve_reasoning_in_assistant_content: bool = False
    """Leave the ``<think>`` text of the history in the content."""
    reasoning_field: Literal["both", "reasoning", "reasoning_content"] = "both"
    """The message keys that carry the history's reasoning to the engine."""
    chat_reasoning: Literal["tags", "field"] = "tags"
    """How Chat Completions replies carry reasoning: as think tags in the content, or as fields."""
    replace_developer_role_with_system: bool = False
    chat_template_kwargs: Options | None = None
    """Template arguments of every call; the request's own are merged over them."""
    forward_request_chat_template_kwargs: bool = True
    """Whether a request's own ``chat_template_kwargs`` count; dropped with a warning if not."""
    continue_final_assistant_message: bool = False
    """Continue a trailing assistant message instead of answering it."""
    extra_body: Options | None = None
    """Fields for every call that does not set them itself."""
    sampling_overrides: Options | None = None
    """Fields that win over whatever a call says."""
    default_headers: Mapping[str, str] = field(
        factory=dict, repr=False, validator=rules.headers, metadata={"secret": True}
    )
    """Sent with every request to the replicas."""
    propagate_context_overflow_errors: bool = False
    """Answer a context overflow with a 400 instead of an empty reply."""
    endpoint_file: str | None = None
    """
    A file with the replicas' URLs, one a line, read again whenever it changes.

    In Gym's spelling ``base_url`` is required beside it, and does not count.
    """
    endpoint_stale_grace_s: float = field(default=300.0, validator=rules.not_negative)
    """Seconds for which the last known replicas are used when that file is gone or empty."""
    endpoint_connection_retries: int = field(default=8, validator=rules.not_negative)
    """How often a call that no replica of that file took is tried again, half a second apart."""
    endpoint_check_interval_s: float = field(default=10.0, validator=rules.positive)
    """Seconds between looks at that file."""
    launcher: str | Options | None = field(default=None, validator=rules.plugin)
    """A launcher by name, or one name with its options, instead of ``base_url``."""
    middlewares: tuple[str | Options, ...] | None = field(default=None, validator=rules.plugins)
    """The pipeline, outermost first, instead of the one that the keys above ask for."""


@frozen
class Config:
    """The whole configuration."""

    models: Mapping[str, Model]
    default_model: str | None = None
    """The model of calls that name none, where there are several."""
    listen: Listen = Listen()
    sessions: Sessions = Sessions()
    limits: Limits = Limits()
    record: str | None = None
    """A directory into which every call is recorded, for finding out what went wrong in it."""


_KEYS = [key.name for key in fields(Config)]


def load(paths: Sequence[str], overrides: Sequence[str] = ()) -> Config:
    """
    The configuration of chained files and overrides, in either spelling.

    See `chain.load` for their order. Raises ConfigError with all faults.
    """
    chained = chain.load(paths, overrides)
    tree = chained.tree
    faults: list[str] = []
    native, foreign = blocks.native(tree, faults), gym.models(tree, faults)
    found = [*native, *map(gym.without_own_keys, foreign)]
    models = _models(found, faults)
    options = resolve(tree, [key for key in _KEYS if key != "models"], "", faults)
    options["listen"] = _listen(options.get("listen"), foreign, faults)
    with collecting(faults):
        config = structure_options(Config, {**options, "models": {}})
    faults += [*_unknown(chained), *_unnamed(tree, found, options.get("default_model"))]
    if faults:
        raise ConfigError(list(dict.fromkeys(faults)))
    return evolve(config, models=models)


def _models(found: Sequence[Block], faults: list[str]) -> dict[str, Model]:
    models = {}
    for index, block in enumerate(found):
        if any(other.name == block.name for other in found[:index]):
            faults.append(f"{block.name!r} is configured twice @ {block.path}")
        faults += blocks.conflicts(block)
        with collecting(faults):
            models[block.name] = structure_options(Model, block.options, block.path)
    return models


def _listen(given: Any, foreign: Sequence[Block], faults: list[str]) -> Any:
    """What is given natively counts before what Gym's blocks say."""
    if given is not None and not isinstance(given, dict):
        return given
    own = {key: value for key, value in (given or {}).items() if value is not None}
    sound = []
    for block in foreign:
        with collecting(faults):
            structure_options(Listen, gym.listen(block), block.path)
            sound.append(block)
    return {**gym.agreed(sound, own, faults), **own}


def _unknown(chained: Chained) -> Iterator[str]:
    """Top-level keys that nobody reads; beside Gym's blocks they may be anybody's."""
    if gym.has_blocks(chained.tree):
        return
    named = _VARIABLE.findall(OmegaConf.to_yaml(chained.tree))
    known = {*_KEYS, *_VARIABLES, *chained.variables, *named}
    for key in chained.tree:
        if key not in known:
            yield unknown_key(key, _KEYS, "")


def _unnamed(tree: DictConfig, found: Sequence[Block], default: Any) -> Iterator[str]:
    """No model at all, or a default that is none."""
    names = [block.name for block in found]
    if isinstance(default, str) and default not in names:
        yield f"{default!r} is not one of the models: {', '.join(names)} @ default_model"
    if names or gym.has_models(tree):
        return
    unused = [key for key in _VARIABLES if key in tree]
    if unused:
        yield f"no model uses it, add {gym.SHIPPED} to the files @ {', '.join(unused)}"
    else:
        yield "no model is configured @ models"


def show(config: Config) -> str:
    """The configuration as YAML, with its secrets hidden, and without what is not set."""
    return without_user(yaml.safe_dump(_shown(config), sort_keys=False, width=float("inf")))


def _shown(value: Any) -> Any:
    if has(type(value)):
        pairs = ((key, getattr(value, key.name)) for key in fields(type(value)))
        return {
            key.name: _hidden(item) if key.metadata.get("secret") else _shown(item)
            for key, item in pairs
            if item is not None and item != () and item != {}
        }
    if isinstance(value, Mapping):
        return {key: _shown(item) for key, item in value.items()}
    return [_shown(item) for item in value] if isinstance(value, list | tuple) else value


def _hidden(value: Any) -> Any:
    return dict.fromkeys(value, "***") if isinstance(value, Mapping) else "***"
