"""What affinity is worth, on real engines."""

import os
from pathlib import Path

from tests.bench.affinity import Work, compare, report
from tests.gateway_process import gateway
from tests.vllm_server import NEEDS_VLLM, serve

pytestmark = NEEDS_VLLM


async def test_with_affinity_more_prompt_tokens_are_cached(tmp_path: Path) -> None:
    python, models = os.environ["VLLM_PYTHON"], Path(os.environ["TINY_MODELS"])
    with serve("plain", python, models, tmp_path) as one:
        with serve("plain", python, models, tmp_path) as two:
            flags = ("--port", "0", "--base-url", one.url, "--base-url", two.url)
            with gateway(*flags, folder=tmp_path) as served:
                rounds = await compare(served.url, Work(sessions=4), 1)
    print(report(rounds))
    kept, dealt = rounds
    assert {len(places) for places in kept.places.values()} == {1}
    # How much more depends on how often the others happened to move.
    assert any(len(places) > 1 for places in dealt.places.values())
    assert kept.cached > dealt.cached
