"""What is wanted of one model: its engines, and how they are run."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from attrs import field, frozen

from launchers.engines.planning.topology import Need, Shape


@frozen
class Serving:
    """One model that is served by engines of ours; nothing in it is unset by accident."""

    name: str
    """The configured name of the model."""
    model: str
    """A repository of the Hugging Face Hub, or a folder."""
    kwargs: Mapping[str, Any]
    """``vllm_serve_kwargs``, by vLLM's own names of the flags, with underscores."""
    environment: Mapping[str, str] = field(repr=False)
    """``vllm_serve_env_vars``."""
    api_key: str = field(repr=False)
    """What vLLM asks for below ``/v1``."""
    headers: Mapping[str, str] = field(repr=False)
    """Sent with every request to the replicas."""
    hf_home: str
    """An absolute path; vLLM's ``download_dir`` is its folder ``hub``."""
    hf_token: str | None = field(repr=False)
    python: str
    """The interpreter that has vLLM."""
    replicas: int
    startup_timeout: float
    """Seconds from the start of an engine's process to its first answer."""
    debug: bool
    stats: bool
    training: bool

    @property
    def shape(self) -> Shape:
        kwargs = self.kwargs
        return Shape(
            data=kwargs["data_parallel_size"],
            tensor=kwargs["tensor_parallel_size"],
            pipeline=kwargs["pipeline_parallel_size"],
            strategy=self.environment["VLLM_RAY_DP_PACK_STRATEGY"],  # type: ignore[arg-type]
            local=kwargs.get("data_parallel_size_local"),
        )

    @property
    def names(self) -> list[str]:
        """Of its replicas, in characters that a cookie may hold."""
        return [f"{quote(self.name, safe=':')}-{number}" for number in range(self.replicas)]

    @property
    def needs(self) -> list[Need]:
        return [Need(name, self.shape) for name in self.names]
