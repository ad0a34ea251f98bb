"""The typed configuration; every key is documented where it is declared."""

import os
from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from gateway.config import rules
from gateway.masking import shown

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
    placement: str | Options = field(
        default="round_robin", repr=shown, validator=rules.plugin, metadata={"options": True}
    )
    """Where new sessions go: ``round_robin``, ``least_loaded``, or one of your own."""
    weights: Mapping[str, float] = field(factory=dict, validator=rules.all_positive)
    """The shares of replicas in new sessions, by their names (``host:port``); 1 unless given."""
    spill_above: int = field(default=32, validator=rules.positive)
    """Concurrent calls above which a session known only by cookie or cache key is dealt out."""
    live: float = field(default=600.0, validator=rules.positive, metadata={"unit": "seconds"})
    """Seconds after its last call for which ``least_loaded`` counts a session."""
    retry_grace: float = field(
        default=0.0, validator=rules.not_negative, metadata={"unit": "seconds"}
    )
    """Seconds that a complete reply is waited for when its client has left, for a retry to join."""
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
    max_in_flight: int | None = field(default=None, validator=rules.positive)
    """Calls in flight on one replica; more of them wait in its queue."""
    queue: int = field(default=1000, validator=rules.not_negative)
    """Calls that may wait for one replica; more are refused with status 429."""
    queue_timeout: float = field(
        default=300.0, validator=rules.positive, metadata={"unit": "seconds"}
    )
    """Seconds that a call waits there, until it is refused with status 503."""
    first_token_timeout: float | None = field(
        default=None, validator=rules.positive, metadata={"unit": "seconds"}
    )
    """Seconds that a replica has for the first chunk of a stream, or for a complete reply."""
    total_timeout: float | None = field(
        default=None, validator=rules.positive, metadata={"unit": "seconds"}
    )
    """Seconds that a call may take in all, waiting and tries included."""
    send_timeout: float = field(
        default=60.0, validator=rules.positive, metadata={"unit": "seconds"}
    )
    """Seconds for which a client may read nothing of its reply, until it is left; as nginx's."""
    drain: float = field(default=300.0, validator=rules.not_negative, metadata={"unit": "seconds"})
    """Seconds that running calls get to finish after a signal to stop; a second one ends them."""


@frozen
class Health:
    """How replicas are looked at: ``GET /health``, which vLLM answers while its engine lives."""

    every: float = field(default=2.0, validator=rules.positive, metadata={"unit": "seconds"})
    """Seconds between two looks at a replica."""
    timeout: float = field(default=5.0, validator=rules.positive, metadata={"unit": "seconds"})
    """Seconds that it has to answer; taking longer counts for nothing while it answers calls."""
    failures: int = field(default=3, validator=rules.positive)
    """Failures in a row that take a replica down; a refused connection does it alone."""


@frozen
class Model:
    """One model: its replicas, and what is done to its calls."""

    base_url: tuple[str, ...] = field(default=(), repr=shown, metadata={"unit": "url"})
    """The replicas, one string or a list; kept without the ``/v1`` that they may end in."""
    api_key: str | None = field(
        default=None, repr=False, validator=rules.header, metadata={"secret": True}
    )
    """Sent to the replicas as a Bearer token."""
    model: str | None = field(default=None, validator=rules.not_empty)
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
    engine: str | None = None
    """The model whose replicas this one shares, with settings of its own for its calls."""
    vllm_serve_kwargs: Options | None = field(default=None, repr=shown, metadata={"options": True})
    """
    Launch vLLM, with these arguments of ``vllm serve`` in snake case.

    ``data_parallel_size``, ``tensor_parallel_size`` and ``pipeline_parallel_size`` are required.
    With ``base_url`` or ``endpoint_file`` beside it a gateway launches nothing.
    """
    vllm_serve_env_vars: Mapping[str, str] = field(
        factory=dict, repr=shown, metadata={"options": True, "launch": True}
    )
    """The environment of vLLM; ``VLLM_RAY_DP_PACK_STRATEGY`` is required: strict, fill or span."""
    hf_home: str | None = field(default=None, validator=rules.not_empty, metadata={"launch": True})
    """Where weights are kept; ``HF_HOME``, or ``.cache/huggingface`` of the working directory."""
    debug: bool = field(default=False, metadata={"launch": True})
    """Print the engine's log."""
    show_vllm_engine_stats: bool = field(default=False, metadata={"launch": True})
    """Let the engine log its throughput from time to time."""
    ray_worker_py_executable: str | None = field(
        default=None, validator=rules.not_empty, metadata={"launch": True}
    )
    """The Python that runs vLLM on the nodes; the gateway's own if unset."""
    replicas: int = field(default=1, validator=rules.positive, metadata={"launch": True})
    """Engines to launch, each of the whole parallel size."""
    startup_timeout: float = field(
        default=1800.0, validator=rules.positive, metadata={"unit": "seconds", "launch": True}
    )
    """Seconds that an engine may take until it answers."""
    middlewares: tuple[str | Options, ...] | None = field(
        default=None, repr=shown, validator=rules.plugins, metadata={"options": True}
    )
    """The pipeline, outermost first, instead of the one that the keys above ask for."""

    @property
    def launches(self) -> bool:
        """Whether engines are to be launched for it."""
        return self.vllm_serve_kwargs is not None and not (
            self.base_url or self.endpoint_file or self.launcher
        )


@frozen
class KeyFile:
    """A key that stands in a file, alone but for white space around it."""

    file: str = field(validator=rules.not_empty)


@frozen
class Config:
    """The whole configuration."""

    models: Mapping[str, Model]
    default_model: str | None = None
    """The model of calls that name none, where there are several."""
    listen: Listen = Listen()
    workers: int | Literal["auto"] = field(default=1, validator=rules.workers)
    """Processes that share the port; ``auto``: one for each core that the gateway may use."""
    sessions: Sessions = Sessions()
    limits: Limits = Limits()
    health: Health = Health()
    api_keys: Mapping[str, str | KeyFile] = field(
        factory=dict, repr=False, metadata={"secret": True}
    )
    """
    The keys that clients may call with, by names of your choice: values, ``${oc.env:NAME}`` or
    ``{file: PATH}``. Without any, all who reach the gateway may call.
    """
    admin_key: str | KeyFile | None = field(default=None, repr=False, metadata={"secret": True})
    """
    Opens ``/admin``, ``/sessions`` and ``/metrics``, and calls too. Without one ``/admin`` is
    closed, and the other two want what calls want.
    """
    health_needs_key: bool = False
    """Whether ``/``, ``/health`` and ``/ready`` want one of these keys too."""
    record: str | None = None
    """A directory into which every call is recorded, for finding out what went wrong in it."""
    hf_token: str | None = field(
        default=None, repr=False, validator=rules.not_empty, metadata={"secret": True}
    )
    """The Hugging Face token that weights are downloaded with; ``HF_TOKEN`` if unset."""
    ray_head_node_address: str | None = field(default=None, validator=rules.not_empty)
    """The Ray cluster to join; ``RAY_ADDRESS`` if unset, and a local one if neither is set."""

    @property
    def worker_count(self) -> int:
        """Processes."""
        return len(os.sched_getaffinity(0)) if self.workers == "auto" else self.workers
