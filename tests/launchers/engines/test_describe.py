"""What ``check`` says of a launch."""

import pytest

from gateway.errors import LaunchError
from launchers.engines import describe as describes
from launchers.engines.describe import describe
from launchers.engines.serving import Serving
from tests.launchers.engines.servings import order, serving, stand_in


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("HF_HOME", raising=False)
    monkeypatch.setattr(describes, "_address", lambda: "10.0.0.9")


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count))))


async def told(*servings: Serving, reachable: bool = False) -> str:
    return await describe(order(*servings, reachable=reachable))


async def test_the_cpu_build_needs_no_gpu() -> None:
    text = await told(stand_in(replicas=2))
    assert "# policy-0 on 10.0.0.9\n" in text
    assert "# policy-1 on 10.0.0.9\n" in text
    assert "--distributed-executor-backend" not in text


async def test_engines_share_the_gpus_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 8)
    text = await told(serving(kwargs={"tensor_parallel_size": 4}, replicas=2))
    assert "imagined" not in text
    assert text.count("on 10.0.0.9\n") == 2
    assert "VLLM_DP_MASTER_IP=10.0.0.9" in text
    assert "--host 127.0.0.1" in text


async def test_a_machine_that_is_too_small_is_told_and_nodes_are_imagined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpus(monkeypatch, 0)
    text = await told(serving(kwargs={"tensor_parallel_size": 8}, replicas=2))
    lacking, first, second, last = text.splitlines()[:4]
    assert "has no vllm, install with: " in lacking
    assert "policy-0" in first
    assert "policy-1" in second
    assert last == "# shown for imagined nodes (2) of 8 GPUs"
    assert "# policy-0 on NODE_1_IP\n" in text
    assert "# policy-1 on NODE_2_IP\n" in text


async def test_what_fits_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0)
    with pytest.raises(LaunchError, match="policy-0"):
        await told(serving(kwargs={"tensor_parallel_size": 0}))


async def test_notes_come_first() -> None:
    text = await told(stand_in(training=True))
    assert text.startswith("# model policy: generation_config: vllm, since token ids are on\n")


async def test_engines_for_others_listen_on_the_address_of_their_node() -> None:
    assert "--host 10.0.0.9" in await told(stand_in(), reachable=True)


async def test_no_secret_is_told() -> None:
    kwargs = {"model_loader_extra_config": {"aws_secret_key": "hf_secret"}}
    variables = {"AWS_SECRET_ACCESS_KEY": "hf_secret", "HTTPS_PROXY": "http://me:hf_secret@proxy"}
    text = await told(stand_in(hf_token="hf_secret", kwargs=kwargs, environment=variables))
    assert "k3y" not in text
    assert "hf_secret" not in text
    assert ' HF_TOKEN="$HF_TOKEN" ' in text
    assert ' VLLM_API_KEY="$VLLM_API_KEY" ' in text
