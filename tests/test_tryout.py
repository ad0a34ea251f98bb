"""``python -m gateway try``: the real command, on the embedded model and on real vLLM."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core import Json
from gateway.tryout.token_ids import REWRITTEN
from tests.fake_vllm import FakeVllm, Hang
from tests.gateway.commands import running, write
from tests.gateway_process import ROOT, Gateway, gateway
from tests.vllm_server import NEEDS_VLLM, VllmServer

FORMS = [
    f"{language}, {form}"
    for language in ("Responses", "Chat Completions")
    for form in ("complete", "streamed")
]
SIMULATED = (
    'The tool said "sunny, 21 degrees Celsius". This reply is simulated, no model has made it.'
)


def tried(*argv: str) -> tuple[int, list[str]]:
    """Exit status, and the lines that are printed."""
    environment = {k: v for k, v in os.environ.items() if k != "OPENAI_API_KEY"}
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "try", *argv],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


async def tried_on(folder: Path, **model: object) -> tuple[int, list[str]]:
    """What is printed for a gateway with this model, after its address."""
    config = write(folder, models={"policy": model})
    async with running(config, folder=folder) as served:
        status, lines = await asyncio.to_thread(tried, served.url)
    assert lines[0] == f"trying {served.url}"
    return status, lines[1:]


TWO: Json = {"simulated": {"replicas": 2}}


@pytest.mark.parametrize(
    ("training", "told"),
    [
        (True, "22 and 31 with as many log probabilities; turn 2 begins with all 139 of turn 1"),
        (False, "off"),
    ],
)
async def test_all_is_well_with_the_embedded_model(
    tmp_path: Path, training: bool, told: str
) -> None:
    status, lines = await tried_on(tmp_path, launcher=TWO, return_token_id_information=training)
    expected: list[str] = []
    for number, form in enumerate(FORMS):
        expected += [
            f"{form}: ok",
            f"  answer         {SIMULATED}",
            f"  replica        simulated-{number % 2} in both turns",
            "  cached tokens  128 of 158 in turn 2",
            f"  token ids      {told}",
        ]
    assert (status, lines) == (0, [*expected, "ok"])


async def test_bad_arguments_end_it_with_status_2() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "try", "nowhere"),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    fault = "argument URL: expected an http or https URL with a host"
    assert process.returncode == 2
    assert errors.decode().endswith(f"python -m gateway try: error: {fault}\n")


async def test_an_interrupt_ends_it_without_a_traceback(fake: FakeVllm) -> None:
    fake.script(Hang(), path="/v1/responses")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "try", fake.url),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await fake.received()
    process.send_signal(signal.SIGINT)
    out, errors = await process.communicate()
    printed = f"trying {fake.url}\ninterrupted\n"
    assert (process.returncode, out.decode(), errors.decode()) == (1, printed, "")


# Real vLLM

CONFIGURATION = """
listen: {{port: 0}}
models:
  thinking:
    base_url: {url}
    model: tiny-reasoning
    uses_reasoning_parser: true
    return_token_id_information: true
    sampling_overrides: {{temperature: 0, max_tokens: 200}}
"""


@pytest.fixture
def engine(reasoning_vllm: tuple[VllmServer, VllmServer]) -> VllmServer:
    return reasoning_vllm[0]


@pytest.fixture
def served(engine: VllmServer, tmp_path: Path) -> Iterator[Gateway]:
    config = tmp_path / "models.yaml"
    config.write_text(CONFIGURATION.format(url=engine.url))
    with gateway(str(config), folder=tmp_path) as running:
        yield running


class TestRealVllm:
    """On a gateway in front of a reasoning model."""

    pytestmark = NEEDS_VLLM

    def test_all_is_well_and_the_template_is_told_to_rewrite_the_history(
        self, served: Gateway, engine: VllmServer
    ) -> None:
        status, lines = tried(served.url)
        assert (status, lines[-1]) == (0, "ok"), lines
        assert [line for line in lines if line.endswith(": ok")] == [
            f"{form}: ok" for form in FORMS
        ]
        replica = engine.url.removeprefix("http://")
        assert lines.count(f"  replica        {replica} in both turns") == 4
        assert lines.count(f"  warning        {REWRITTEN}") == 4
        assert [line for line in lines if line.startswith("  cached tokens  0")] == []
