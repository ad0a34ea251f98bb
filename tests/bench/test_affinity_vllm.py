"""What affinity is worth, on real engines."""

from pathlib import Path

from tests.bench.affinity import Work, compare, report
from tests.gateway_process import gateway
from tests.vllm_server import NEEDS_VLLM, VllmServer

pytestmark = NEEDS_VLLM


async def test_with_affinity_more_prompt_tokens_are_cached(
    reasoning_vllm: tuple[VllmServer, VllmServer], tmp_path: Path
) -> None:
    flags = [word for engine in reasoning_vllm for word in ("--base-url", engine.url)]
    with gateway("--port", "0", *flags, folder=tmp_path) as served:
        rounds = await compare(served.url, Work(sessions=4), 1)
    print(report(rounds))
    kept, dealt = rounds
    assert {len(places) for places in kept.places.values()} == {1}
    # How much more depends on how often the others happened to move.
    assert any(len(places) > 1 for places in dealt.places.values())
    assert kept.cached > dealt.cached
