"""The real command, in a process of its own."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from attrs import frozen

from gateway.cli import _warn_of_the_open
from gateway.config import Config, Listen
from gateway.core import Call, Handler, Json, Reply
from tests.fake_vllm import FakeVllm, Gate, Hang, Status, events
from tests.gateway.commands import running, write
from tests.gateway_process import Gateway
from tests.launchers.engines.servings import ENVIRONMENT, SIZES
from tests.serving import CHAT, HELLO


async def run(*argv: str, cwd: Path) -> tuple[int, str, str]:
    """Exit status, output and errors of a command that ends by itself."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *argv),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def config(folder: Path, **model: object) -> str:
    return write(folder, models={"policy": model})


async def test_the_embedded_model_is_served_and_says_that_it_is_simulated(tmp_path: Path) -> None:
    async with running("--port", "0", folder=tmp_path) as served:
        async with aiohttp.ClientSession() as http:
            async with http.post(served.url + CHAT, json=HELLO) as answer:
                assert answer.headers["X-Gateway-Simulated"] == "1"
                assert (await answer.json())["choices"][0]["message"]["content"]
            async with http.get(served.url + "/v1/models") as answer:
                assert answer.headers["X-Gateway-Simulated"] == "1"
                assert [m["id"] for m in (await answer.json())["data"]] == ["simulated"]
        assert served.process.poll() is None
    assert served.process.returncode == 0


async def test_what_is_served_is_printed_with_a_request_to_try(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "--port", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode().rstrip() for _ in range(5)]
    process.terminate()
    assert await process.wait() == 0
    url = lines[0].removeprefix("gateway ready on ")
    assert url.startswith("http://127.0.0.1:")
    assert lines[1:] == [
        "model simulated: simulated on simulated-0",
        "no model is configured: this is the simulated one, it only plays a model. Try",
        f"  curl {url}/v1/chat/completions -H 'Content-Type: application/json' \\",
        """    -d '{"messages": [{"role": "user", "content": "Hello!"}]}'""",
    ]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_an_ipv6_address_is_printed_in_brackets(tmp_path: Path) -> None:
    async with running("--host", "::1", "--port", "0", folder=tmp_path) as served:
        assert served.url.startswith("http://[::1]:")
        assert served.process.stdout is not None
        lines = [served.process.stdout.readline() for _ in range(3)]
    assert f"  curl {served.url}/v1/chat/completions -H" in lines[2]


@pytest.mark.parametrize("body", [HELLO, {**HELLO, "stream": True}])
async def test_a_client_that_leaves_ends_the_generation(
    fake: FakeVllm, tmp_path: Path, body: Json
) -> None:
    fake.script(Hang(asyncio.Event()))
    async with running("--base-url", fake.url, "--port", "0", folder=tmp_path) as served:
        async with aiohttp.ClientSession() as http:
            call = asyncio.create_task(http.post(served.url + CHAT, json=body))
            await fake.received(1)
            call.cancel()
            await fake.client_left(1)


async def test_a_client_that_leaves_in_mid_stream_ends_the_generation(
    fake: FakeVllm, tmp_path: Path
) -> None:
    first = {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": {"content": "a"}}],
    }
    fake.script(events(first, Gate(asyncio.Event())))
    async with running("--base-url", fake.url, "--port", "0", folder=tmp_path) as served:
        async with aiohttp.ClientSession() as http:
            async with http.post(served.url + CHAT, json={**HELLO, "stream": True}) as answer:
                await answer.content.readline()
                answer.close()
                await fake.client_left(1)


@frozen
class Reloaded:
    """A gateway that is told to read its configuration again."""

    served: Gateway
    http: aiohttp.ClientSession
    folder: Path
    models: Json

    async def reload(self, said: str, **config: Json) -> str:
        """Its log, once it has said this."""
        write(self.folder, **{"models": self.models, **config})
        self.served.process.send_signal(signal.SIGHUP)
        while said not in (log := await asyncio.to_thread(self.served.log.read_text)):
            await asyncio.sleep(0.01)
        return log

    async def status(self, **headers: str) -> int:
        url = self.served.url + CHAT
        async with self.http.post(url, json=HELLO, headers=headers) as answer:
            return answer.status


@pytest.fixture
async def reloaded(fake: FakeVllm, tmp_path: Path) -> AsyncIterator[Reloaded]:
    """A gateway of one replica, whose configuration may change."""
    models = {"policy": {"base_url": fake.url, "model": "fake-model"}}
    file = write(tmp_path, models=models)
    async with running(file, folder=tmp_path) as served, aiohttp.ClientSession() as http:
        yield Reloaded(served, http, tmp_path, models)


async def test_sighup_reads_the_configuration_again(reloaded: Reloaded) -> None:
    assert await reloaded.status() == 200
    await reloaded.reload("the configuration was read again", api_keys={"team": "k"})
    assert await reloaded.status() == 401
    assert await reloaded.status(Authorization="Bearer k") == 200


async def test_sighup_with_a_broken_configuration_changes_nothing(reloaded: Reloaded) -> None:
    log = await reloaded.reload("the configuration stays as it was", api_keys={"t": "k"}, helth={})
    assert "unknown key 'helth', did you mean 'health'?" in log
    assert await reloaded.status() == 200


@frozen
class Shut:
    """A middleware that owns something which cannot be had."""

    async def __aenter__(self) -> "Shut":
        raise OSError("no such thing")

    async def __aexit__(self, *_: object) -> None:
        """Nothing was had."""

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        return await handler(call)


async def test_sighup_with_a_middleware_that_fails_changes_nothing(reloaded: Reloaded) -> None:
    policy = {**reloaded.models["policy"], "middlewares": [f"{__name__}:Shut"]}
    log = await reloaded.reload("OSError: no such thing", models={"policy": policy})
    assert "the configuration stays as it was" in log
    assert await reloaded.status() == 200
    await reloaded.reload("the configuration was read again", api_keys={"team": "k"})
    assert await reloaded.status() == 401


async def test_sighup_follows_the_replicas(reloaded: Reloaded) -> None:
    async with FakeVllm() as other:
        models = {"policy": {"base_url": other.url, "model": "fake-model"}}
        up = f"replica 127.0.0.1:{other.port} of model policy is up"
        await reloaded.reload(up, models=models)
        assert await reloaded.status() == 200
        assert len(other.requests) == 1


async def test_check_prints_configuration_and_pipeline_without_secrets(tmp_path: Path) -> None:
    file = config(tmp_path, base_url="http://127.0.0.1:9/v1/", api_key="hush", model="m")
    status, out, _ = await run("check", file, cwd=tmp_path)
    assert status == 0
    assert "base_url:\n    - http://127.0.0.1:9\n" in out
    assert "pipeline of policy, outermost first\n  request_log()\n  length_error(" in out
    assert "hush" not in out


async def test_check_prints_the_options_of_middlewares_without_secrets(tmp_path: Path) -> None:
    extra = {"fields": {"token": "hush", "proxy": "http://me:hush@a", "top_k": 4}}
    file = config(tmp_path, base_url="http://127.0.0.1:9", middlewares=[{"extra_body": extra}])
    status, out, _ = await run("check", file, cwd=tmp_path)
    assert status == 0
    assert "  extra_body(fields={'token': '***', 'proxy': 'http://***@a', 'top_k': 4})" in out
    assert "hush" not in out


async def test_all_faults_are_printed_and_the_status_is_2(tmp_path: Path) -> None:
    file = config(tmp_path, base_url="http://127.0.0.1:9", modle="m", uses_reasoning_parser="no")
    for command in ((), ("check",)):
        status, _, err = await run(*command, file, cwd=tmp_path)
        assert status == 2
        assert "unknown key 'modle', did you mean 'model'? @ models.policy" in err
        assert "expected bool, got 'no' @ models.policy.uses_reasoning_parser" in err


async def test_faults_of_plugins_are_faults_of_check(tmp_path: Path) -> None:
    file = config(tmp_path, launcher="simulatet")
    status, _, err = await run("check", file, cwd=tmp_path)
    assert (status, err) == (2, "no launcher named 'simulatet', did you mean 'simulated'?\n")


def engines(**settings: object) -> dict[str, object]:
    """A model that is launched, with the stand-in for vLLM."""
    return {
        "model": "org/model",
        "vllm_serve_kwargs": {**SIZES, **settings},
        "vllm_serve_env_vars": ENVIRONMENT,
    }


async def test_check_prints_what_would_be_launched(tmp_path: Path) -> None:
    file = config(tmp_path, **engines(), replicas=2, api_key="hush")
    status, out, err = await run("check", file, cwd=tmp_path)
    assert (status, err) == (0, "")
    assert "\n# policy-0 on " in out
    assert "\n# policy-1 on " in out
    assert f"{sys.executable} -m vllm.entrypoints.openai.api_server" in out
    assert "hush" not in out


async def test_unknown_flags_of_vllm_are_faults_of_check(tmp_path: Path) -> None:
    file = config(tmp_path, **engines(tensor_paralel_size=2))
    for command in ((), ("check",)):
        status, _, err = await run(*command, file, cwd=tmp_path)
        assert (status, err) == (
            2,
            "unknown flag 'tensor_paralel_size', did you mean 'tensor_parallel_size'? "
            "@ models.policy.vllm_serve_kwargs\n",
        )


async def test_the_shipped_configurations_are_listed(tmp_path: Path) -> None:
    status, out, _ = await run("configs", cwd=tmp_path)
    assert status == 0
    assert "Qwen3-30B-A3B-Instruct-2507\n  Qwen3 30B-A3B Instruct 2507, 8 GPUs.\n" in out


async def test_there_must_be_engines_to_launch(tmp_path: Path) -> None:
    file = config(tmp_path, base_url="http://127.0.0.1:9")
    status, _, err = await run("launch", file, "--publish", "endpoints", cwd=tmp_path)
    assert status == 2
    assert err == "no model has engines to launch, which need vllm_serve_kwargs @ models\n"


@pytest.mark.parametrize(
    ("host", "keys", "warned"),
    [
        ("0.0.0.0", {}, True),
        ("::", {}, True),
        ("gpu-node-1", {}, True),
        ("0.0.0.0", {"team": "k"}, False),
        ("127.0.0.2", {}, False),
        ("::1", {}, False),
        ("localhost", {}, False),
    ],
)
def test_listening_to_others_without_keys_is_warned_of(
    host: str, keys: dict[str, str], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    _warn_of_the_open(Config({}, listen=Listen(host=host), api_keys=keys))
    message = f"anybody who reaches {host} may call: there are no api_keys"
    assert caplog.messages == ([message] if warned else [])


async def test_explain_shows_the_request_on_its_way(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text(json.dumps(HELLO))
    file = config(tmp_path, base_url="http://127.0.0.1:9", model="m")
    status, out, _ = await run("explain", file, "request.json", cwd=tmp_path)
    assert status == 0
    assert '  model = "m"   <- models.policy.model' in out
    status, _, err = await run("explain", file, "missing.json", cwd=tmp_path)
    assert status == 2
    assert err.startswith("cannot read the request: ")


async def test_a_refused_request_is_explained(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text('{"messages": 5}')
    file = config(tmp_path, base_url="http://127.0.0.1:9", model="m")
    _, out, _ = await run("explain", file, "request.json", cwd=tmp_path)
    assert out == "the request is refused (400): messages must be an array, not an integer\n"


async def test_a_port_that_is_taken_is_a_failure_at_run_time(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        status, _, err = await run("--port", port, cwd=tmp_path)
    assert status == 1
    assert f"cannot listen on 127.0.0.1:{port}" in err


async def test_a_replica_with_several_models_ends_a_start_that_names_none(
    fake: FakeVllm, tmp_path: Path
) -> None:
    fake.pages["/v1/models"] = Status(200, {"data": [{"id": "a"}, {"id": "b"}]})
    status, _, err = await run("--base-url", fake.url, "--port", "0", cwd=tmp_path)
    assert status == 2
    assert "set the model, since the replica serves a, b @ policy.model" in err


async def test_one_line_per_call_is_logged_without_contents(fake: FakeVllm, tmp_path: Path) -> None:
    argv = ("--base-url", fake.url, "--api-key", "hush", "--port", "0")
    async with running(*argv, folder=tmp_path) as served:
        async with aiohttp.ClientSession() as http:
            async with http.post(served.url + CHAT, json=HELLO, headers={"X-Request-Id": "r1"}):
                pass
    log = served.log.read_text()
    [line] = [line for line in log.split("\n") if "id=r1" in line]
    assert "model=policy" in line
    assert "end=stop" in line
    assert "Hello" not in log
    assert "hush" not in log
