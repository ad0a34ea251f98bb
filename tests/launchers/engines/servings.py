"""What is wanted of a model, for tests of what becomes of it."""

import sys
from typing import Any

from attrs import evolve

from launchers.engines.preflight import preflight
from launchers.engines.process import Order
from launchers.engines.serving import Serving
from tests.launchers.engines.node.kept import STAND_IN

SIZES = {"data_parallel_size": 1, "tensor_parallel_size": 1, "pipeline_parallel_size": 1}
ENVIRONMENT = {"VLLM_RAY_DP_PACK_STRATEGY": "strict", "PYTHONPATH": str(STAND_IN)}
"""For an interpreter that has the stand-in for vLLM."""
POLICY = Serving(
    name="policy",
    model="org/model",
    kwargs=SIZES,
    environment={"VLLM_RAY_DP_PACK_STRATEGY": "strict"},
    api_key="k3y",
    headers={"Authorization": "Bearer k3y"},
    hf_home="/weights",
    hf_token=None,
    python=sys.executable,
    replicas=1,
    startup_timeout=20.0,
    debug=False,
    stats=False,
    training=False,
)


def serving(*, environment: dict[str, str] | None = None, **changes: Any) -> Serving:
    """The policy with these changes; ``kwargs`` and ``environment`` come on top of its own."""
    kwargs = {**SIZES, **changes.pop("kwargs", {})}
    both = {**POLICY.environment, **(environment or {})}
    return evolve(POLICY, kwargs=kwargs, environment=both, **changes)


def stand_in(**changes: Any) -> Serving:
    """The same, with an interpreter that has the stand-in for vLLM."""
    return serving(environment={**ENVIRONMENT, **changes.pop("environment", {})}, **changes)


def order(*servings: Serving, ray_address: str | None = None, reachable: bool = False) -> Order:
    """An order for these models, after a look at their interpreters."""
    return Order([*map(preflight, servings)], ray_address, reachable)
