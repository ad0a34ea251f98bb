"""The typed configuration; every key is documented where it is declared."""

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from gateway.config import rules
from gateway.config.masking import shown

Options = Mapping[str, Any]


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

    base_url: tuple[str, ...] = field(default=(), repr=shown, metadata={"unit": "url"})
    """The replicas, one string or a list; kept without the ``/v1`` that they may end in."""
    api_key: str | None = field(
        default=None, repr=False, validator=rules.header, metadata={"secret": True}
    )
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
    unsupported_tools: Literal["error", "drop"] = "error"
    """
    Tools of the Responses API that only OpenAI can run: refuse the request, or drop them with a
    log line.
    """
    is_responses_native: bool = False
    """
    The engine speaks the Responses API better than chat (gpt-oss): /v1/responses goes to it
    unconverted.
    """
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
    launcher: str | Options | None = field(
        default=None, repr=shown, validator=rules.plugin, metadata={"options": True}
    )
    """A launcher by name, or one name with its options, instead of ``base_url``."""
    middlewares: tuple[str | Options, ...] | None = field(
        default=None, repr=shown, validator=rules.plugins, metadata={"options": True}
    )
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
