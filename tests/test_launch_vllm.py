"""End to end: the real command launches real vLLM through Ray, and looks after it."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest
from attrs import frozen
from openai import OpenAI

from gateway import codec
from gateway.core import Json
from tests.gateway_process import ROOT, Gateway, gateway
from tests.processes import all_listening, descendants, family, listening, opened
from tests.vllm_server import ENVIRONMENT, NEEDS_VLLM, becomes

pytestmark = NEEDS_VLLM

START = 400.0
"""Seconds for two engines on a loaded machine with two cores."""
AT_ONCE = 10.0
"""Seconds within which a session must go on elsewhere; an engine core's end is seen in one."""
END = 60.0
"""Seconds that a launch has to end."""
MODEL = "tiny-plain"
KEY = "a-key-that-nobody-may-see"
REPLICAS = ["policy-0", "policy-1"]
FRANCE: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
PARIS = "The capital of France is Paris."

CONFIGURATION = """
listen: {{port: 0}}
default_model: policy
models:
  policy:
    model: {model}
    api_key: {key}
    vllm_serve_kwargs:
      data_parallel_size: 1
      tensor_parallel_size: 1
      pipeline_parallel_size: 1
      served_model_name: {name}
      enforce_eager: true
    vllm_serve_env_vars: {environment}
    ray_worker_py_executable: {python}
    replicas: 2
    return_token_id_information: true
    startup_timeout: {start}
  short:
    engine: policy
    sampling_overrides: {{stop: [" Paris"]}}
"""


@frozen
class Launched:
    """A gateway whose engines are all up, and what it has started."""

    gateway: Gateway
    mark: str
    logs: Path
    """Where its engines write."""

    @property
    def urls(self) -> dict[str, str]:
        """By replica; the last one of each, since a port may be taken after a crash."""
        text = self.gateway.log.read_text()
        return dict(re.findall(r"(policy-\d) answers on (http://\S+)$", text, re.MULTILINE))

    def ask_engine(self, replica: str, path: str, body: Json) -> Json:
        """Ask it past the gateway."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
        asked = codec.encode({**body, "model": MODEL})
        request = urllib.request.Request(self.urls[replica] + path, asked, headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            reply: Json = codec.decode(answer.read())
        return reply

    def server(self, replica: str) -> int:
        """The pid of its API server."""
        port = f" --port {self.urls[replica].rpartition(':')[2]}"
        with opened(family(self.mark)) as processes:
            [pid] = [p.pid for p in processes if "api_server" in p.words and port in p.words]
        return pid


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """One gateway with two engines and two models on them; the tests end them, in this order."""
    folder, mark = tmp_path_factory.mktemp("launch"), f"launched-{uuid.uuid4()}"
    (folder / "models.yaml").write_text(configuration())
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as ray:
        patch.setenv("GYM_GATEWAY_TEST", mark)
        patch.setenv("XDG_STATE_HOME", str(folder))
        patch.setenv("RAY_TMPDIR", ray)  # short, since sockets lie there
        patch.delenv("RAY_ADDRESS", raising=False)
        with gateway(str(folder / "models.yaml"), folder=folder) as running:
            found = Launched(running, mark, folder / "gym-gateway")
            for replica in REPLICAS:
                assert becomes(partial(is_up, found, replica), START)
                found.ask_engine(replica, "/v1/chat/completions", {"messages": FRANCE})  # warm
            yield found


def configuration() -> str:
    models = Path(os.environ["TINY_MODELS"])
    return CONFIGURATION.format(
        model=models / "plain",
        name=MODEL,
        key=KEY,
        environment=codec.encode({**ENVIRONMENT, "VLLM_RAY_DP_PACK_STRATEGY": "strict"}).decode(),
        python=os.environ["VLLM_PYTHON"],
        start=START,
    )


def is_up(launched: Launched, replica: str, times: int = 1) -> bool:
    """Whether it was found up so often."""
    said = f"replica {replica} of model policy is up"
    return launched.gateway.log.read_text().count(said) == times


@pytest.fixture
def client(launched: Launched) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{launched.gateway.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def test_check_shows_the_command_of_a_shipped_configuration() -> None:
    name = "SmolLM2-135M-Instruct-cpu"
    python = f"++{name}.responses_api_models.local_vllm_model.ray_worker_py_executable"
    words = ["check", name, f"{python}={os.environ['VLLM_PYTHON']}"]
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    shown = done.stdout.partition("\nlaunch\n")[2]
    assert "VLLM_CPU_KVCACHE_SPACE=1" in shown
    assert "--model HuggingFaceTB/SmolLM2-135M-Instruct" in shown
    assert "--distributed-executor-backend" not in shown


# Chat Completions and responses, from engines of ours


@pytest.mark.parametrize("model", ["policy", "short"])
def test_a_model_answers(client: OpenAI, model: str) -> None:
    reply = client.chat.completions.create(model=model, messages=FRANCE, temperature=0)
    assert reply.choices[0].message.content == said_by(model)


@pytest.mark.parametrize("model", ["policy", "short"])
def test_a_model_streams(client: OpenAI, model: str) -> None:
    with client.chat.completions.create(
        model=model, messages=FRANCE, temperature=0, stream=True
    ) as stream:
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(pieces) == said_by(model)
    assert len([piece for piece in pieces if piece]) > 1


@pytest.mark.parametrize("model", ["policy", "short"])
def test_a_model_responds(client: OpenAI, model: str) -> None:
    response = client.responses.create(
        model=model, input="What is the capital of France?", temperature=0
    )
    assert response.output_text == said_by(model)


@pytest.mark.parametrize("model", ["policy", "short"])
def test_a_model_streams_a_response(client: OpenAI, model: str) -> None:
    with client.responses.stream(
        model=model, input="What is the capital of France?", temperature=0
    ) as stream:
        pieces = [e.delta for e in stream if e.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert "".join(pieces) == final.output_text == said_by(model)


def said_by(model: str) -> str:
    """Two models on one engine, each with settings of its own."""
    return PARIS if model == "policy" else PARIS.partition(" Paris")[0]


def test_both_models_are_of_the_one_engine(client: OpenAI) -> None:
    roots = {model.id: (model.model_extra or {})["root"] for model in client.models.list()}
    assert roots == {"policy": MODEL, "short": MODEL}


# Token ids


@pytest.mark.parametrize("stream", [False, True], ids=["complete", "streamed"])
def test_the_token_ids_are_those_that_the_engine_sampled(
    launched: Launched, client: OpenAI, stream: bool
) -> None:
    message, replica = asked(client, "policy", stream)
    greedy = {"messages": FRANCE, "temperature": 0, "return_token_ids": True, "logprobs": True}
    own = launched.ask_engine(replica, "/v1/chat/completions", greedy)
    [choice] = own["choices"]
    assert message["prompt_token_ids"] == own["prompt_token_ids"]
    assert message["generation_token_ids"] == choice["token_ids"]
    sampled = [entry["logprob"] for entry in choice["logprobs"]["content"]]
    assert message["generation_log_probs"] == pytest.approx(sampled, abs=1e-4)


def test_the_other_model_of_the_engine_has_no_token_ids(client: OpenAI) -> None:
    message, _ = asked(client, "short", stream=False)
    assert "generation_token_ids" not in message


def asked(client: OpenAI, model: str, stream: bool) -> tuple[Json, str]:
    """The message of the reply, and the replica that it came from."""
    raw = client.chat.completions.with_raw_response
    if not stream:
        reply = raw.create(model=model, messages=FRANCE, temperature=0)
        found = reply.parse().choices[0].message
        return found.model_dump(exclude_unset=True), reply.headers["X-Gateway-Replica"]
    streamed = raw.create(model=model, messages=FRANCE, temperature=0, stream=True)
    message: Json = {}
    with streamed.parse() as chunks:
        for chunk in chunks:
            for choice in chunk.choices:
                message |= choice.delta.model_dump(exclude_unset=True)
    return message, streamed.headers["X-Gateway-Replica"]


def test_engines_for_token_ids_leave_sampling_to_the_client(launched: Launched) -> None:
    with opened([launched.server("policy-0")]) as [server]:
        assert "--generation-config vllm " in server.words
        assert "--logprobs-mode processed_logprobs" in server.words


# Sessions


def test_a_session_stays_on_its_replica(client: OpenAI) -> None:
    for _ in REPLICAS:
        talk = Talk(client, uuid.uuid4().hex)
        assert len({talk.turn(5) for _ in range(3)}) == 1


def test_sessions_are_dealt_to_both_replicas(client: OpenAI) -> None:
    assert {Talk(client, uuid.uuid4().hex).turn(5) for _ in REPLICAS} == set(REPLICAS)


def test_both_models_of_an_engine_have_its_replicas(client: OpenAI) -> None:
    talks = [Talk(client, uuid.uuid4().hex, "short") for _ in REPLICAS]
    assert {talk.turn(5) for talk in talks} == set(REPLICAS)


@frozen
class Talk:
    """The conversation of one session."""

    client: OpenAI
    session: str
    model: str = "policy"

    def turn(self, timeout: float) -> str:
        """The replica that answered; ``timeout`` are the seconds that it had for it."""
        reply = self.client.chat.completions.with_raw_response.create(
            model=self.model,
            messages=FRANCE,
            max_tokens=2,
            extra_headers={"X-Session-ID": self.session},
            timeout=timeout,
        )
        return reply.headers["X-Gateway-Replica"]

    def break_off(self, kill: Callable[[], None]) -> Exception:
        """Kill when the first tokens of an endless answer came; what the client got then."""
        with self.client.chat.completions.create(
            model=self.model,
            messages=FRANCE,
            max_tokens=1900,
            stream=True,
            extra_body={"ignore_eos": True},
            extra_headers={"X-Session-ID": self.session},
            timeout=30,
        ) as stream:
            next(stream)
            kill()
            with pytest.raises(openai.APIError) as raised:
                for _ in stream:
                    pass
        return raised.value


# Secrets


def test_the_engines_want_the_key(launched: Launched) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{launched.urls['policy-0']}/v1/models", timeout=30)


def test_the_key_is_in_no_log_and_on_no_command_line(launched: Launched) -> None:
    with opened(family(launched.mark)) as processes:
        lines = [process.words for process in processes]
    logs = [launched.gateway.log, *launched.logs.rglob("*.log")]
    assert len(logs) == 1 + len(REPLICAS)
    assert not [text for text in [*lines, *(log.read_text() for log in logs)] if KEY in text]


# What ends; from here on the engines are not what they were


@frozen
class Crash:
    """What a client saw when the engine core that it was talking to was killed."""

    replica: str
    """Where its session was."""
    error: Exception
    """The end of the call that was running."""
    seconds: float
    """From there to its session's next answer."""
    then: str
    """The replica that gave it."""
    left: list[str]
    """Processes of the engine that did not end."""


@pytest.fixture(scope="module")
def crash(launched: Launched) -> Iterator[Crash]:
    with OpenAI(base_url=f"{launched.gateway.url}/v1", api_key="any") as client:  # tries again
        talk = Talk(client, uuid.uuid4().hex)
        replica = talk.turn(30)
        with opened(descendants(launched.server(replica))) as engine:
            [core] = [process for process in engine if "EngineCore" in process.words]
            error = talk.break_off(core.kill)
            start = time.monotonic()
            then = talk.turn(30)
            seconds = time.monotonic() - start
            left = [process.words for process in engine if not process.ends(END)]
        yield Crash(replica, error, seconds, then, left)


def test_a_call_on_an_engine_that_dies_ends_with_an_error(crash: Crash) -> None:
    assert "EngineCore" in str(crash.error)


def test_its_session_goes_on_at_once_on_the_other_replica(crash: Crash) -> None:
    assert crash.then == ({*REPLICAS} - {crash.replica}).pop()
    assert crash.seconds < AT_ONCE


def test_nothing_of_the_engine_that_died_is_left(crash: Crash) -> None:
    assert crash.left == []


def test_the_engine_comes_back_under_its_name(
    launched: Launched, crash: Crash, client: OpenAI
) -> None:
    assert becomes(partial(is_up, launched, crash.replica, 2), START)
    assert {Talk(client, uuid.uuid4().hex).turn(60) for _ in REPLICAS} == set(REPLICAS)
    with urllib.request.urlopen(f"{launched.gateway.url}/ready", timeout=10) as answer:
        assert answer.status == 200


def test_after_a_signal_no_process_and_no_port_is_left(launched: Launched) -> None:
    pids = family(launched.mark)
    sockets = listening(pids)
    process = launched.gateway.process
    with opened(pids) as processes:
        assert len(processes) > 10
        assert len(sockets) > 3
        process.send_signal(signal.SIGTERM)
        code = process.wait(END)
        assert [p.words for p in processes if not p.ends(0)] == []
    assert (code, family(launched.mark), sockets & all_listening()) == (0, [], set())
