"""What is wanted of one model."""

from launchers.engines.planning.topology import Need, Shape
from tests.launchers.engines.servings import serving


def test_its_shape_is_that_of_its_arguments() -> None:
    kwargs = {"data_parallel_size": 2, "tensor_parallel_size": 4, "data_parallel_size_local": 1}
    span = {"VLLM_RAY_DP_PACK_STRATEGY": "span"}
    assert serving(kwargs=kwargs, environment=span).shape == Shape(2, 4, 1, "span", 1)


def test_each_replica_needs_a_place_of_its_own() -> None:
    one = Shape(1, 1, 1, "strict")
    assert serving(replicas=2).needs == [Need("policy-0", one), Need("policy-1", one)]


def test_names_can_stand_in_a_cookie() -> None:
    assert serving(name="Qwen/Qwen3; 4B").names == ["Qwen%2FQwen3%3B%204B-0"]


def test_no_secret_is_shown() -> None:
    shown = repr(serving(hf_token="hf_secret", environment={"MY_TOKEN": "t0ken"}))
    assert not any(secret in shown for secret in ("k3y", "hf_secret", "t0ken"))
