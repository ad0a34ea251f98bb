"""Several workers as clients see them: the real command over real sockets."""

import asyncio
import json
import signal
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web
from attrs import define
from prometheus_client.parser import text_string_to_metric_families

from gateway.config import Config, Limits, Model
from gateway.core import Call, Handler, Json, Reply
from gateway.workers import supervisor
from gateway.workers.supervisor import supervising
from tests import plausible
from tests.fake_vllm import Complete, FakeVllm, Gate, Hang, Received, Status, events, replicas
from tests.gateway.commands import write
from tests.gateway.workers.crew import Crew, argv, config, crew, environment, until
from tests.serving import HELLO

STREAM: Json = {**HELLO, "stream": True}
CHUNK: Json = {
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": {"content": "a"}}],
}


def name(fake: FakeVllm) -> str:
    return f"127.0.0.1:{fake.port}"


def at(session: str) -> dict[str, str]:
    return {"X-Session-ID": session}


async def metric(made: Crew, wanted: str, **labels: str) -> float:
    """The sum of the samples with this name and these labels."""
    async with made.http.get(
        made.url + "/metrics", headers={"Authorization": "Bearer admin"}
    ) as page:
        families = [*text_string_to_metric_families((await page.read()).decode())]
    samples = [s for family in families for s in family.samples if s.name == wanted]
    return sum(s.value for s in samples if labels.items() <= s.labels.items())


def log(made: Crew) -> str:
    return made.gateway.log.read_text()


async def idle(made: Crew) -> bool:
    """Whether no call runs, and none waits."""
    shown = (await made.shown()).values()
    return not any(replica["in_flight"] or replica["queued"] for replica in shown)


# Sessions


async def test_a_session_by_header_or_path_is_on_one_replica_for_all_workers(
    tmp_path: Path,
) -> None:
    async with replicas(3) as fakes, crew(tmp_path, *fakes) as made:
        used: dict[str, set[str]] = {}
        for connection in [*await made.each(), *await made.each()]:
            for id in ("a", "b", "c", "d"):
                by_header = await connection.post(headers=at(id))
                by_path = await connection.post(path=f"/sessions/{id}/v1/chat/completions")
                used.setdefault(id, set()).update((by_header.replica, by_path.replica))
    assert [len(where) for where in used.values()] == [1, 1, 1, 1]
    assert len(set.union(*used.values())) == 3


async def test_a_cookie_of_one_worker_counts_for_the_other(tmp_path: Path) -> None:
    async with replicas(3) as fakes, crew(tmp_path, *fakes) as made:
        one, other = await made.each()
        first = await one.post()
        cookie = first.headers["Set-Cookie"].partition(";")[0]
        again = [await on.post(headers={"Cookie": cookie}) for on in (other, one, other)]
    assert {answer.replica for answer in again} == {first.replica}
    assert {a.headers["X-Session-ID"] for a in again} == {first.headers["X-Session-ID"]}
    assert all("Set-Cookie" not in answer.headers for answer in again)


async def test_new_sessions_are_dealt_round_robin_over_all_workers(tmp_path: Path) -> None:
    async with replicas(3) as fakes, crew(tmp_path, *fakes) as made:
        connections = await made.each()
        used = [(await one.post()).replica for _ in range(3) for one in connections]
    assert used[:3] == used[3:]
    assert Counter(used) == {name(fake): 2 for fake in fakes}


async def test_a_session_may_be_ended_by_way_of_any_worker(tmp_path: Path) -> None:
    async with FakeVllm() as fake, crew(tmp_path, fake) as made:
        connections = await made.each()
        before = [(await one.post(headers=at("s"))).status for one in connections]
        async with made.http.delete(
            made.url + "/sessions/s", headers={"Authorization": "Bearer admin"}
        ) as ended:
            calls = (await ended.json())["calls"]
        after = [await one.post(headers=at("s")) for one in connections]
    assert (before, calls) == ([200, 200], 2)
    assert [(a.status, a.json["error"]["message"]) for a in after] == [
        (410, "session s has ended")
    ] * 2


# Limits


async def test_the_limit_of_a_replica_holds_over_all_workers(tmp_path: Path) -> None:
    go = asyncio.Event()
    limits = {"max_in_flight": 2, "queue": 3}
    async with FakeVllm() as fake, crew(tmp_path, fake, limits=limits) as made:
        fake.script(*[Hang(go)] * 5)
        calls = [asyncio.create_task(made.post(headers=at(f"s{i}"))) for i in range(5)]

        async def waiting() -> bool:
            return bool((await made.shown())[name(fake)]["queued"] == 3)

        await until(waiting)
        await fake.received(2)
        running = fake.running
        refused = await made.post()
        go.set()
        answers = await asyncio.gather(*calls)
        await until(lambda: idle(made))
    assert (running, refused.status) == (2, 429)
    assert refused.json["error"]["message"] == (
        "the replica is at limits.max_in_flight (2), and limits.queue (3) calls wait already"
    )
    assert [answer.status for answer in answers] == [200] * 5


@define
class Slow:
    """An answer that takes some turns of the event loop, and counts those beside it."""

    fake: FakeVllm
    most: int = 0

    async def send(self, request: web.Request, received: Received) -> web.StreamResponse:
        self.most = max(self.most, self.fake.running)
        for _ in range(20):
            await asyncio.sleep(0)
        return await Complete(plausible.reply()).send(request, received)


async def test_many_calls_never_exceed_the_limit(tmp_path: Path) -> None:
    async with FakeVllm() as fake, crew(tmp_path, fake, limits={"max_in_flight": 3}) as made:
        slow = Slow(fake)
        fake.script(*[slow] * 60)
        answers = await asyncio.gather(*(made.post() for _ in range(60)))
        await until(lambda: idle(made))
    assert [answer.status for answer in answers] == [200] * 60
    assert slow.most == 3


async def test_a_client_that_leaves_the_queue_of_another_worker_gives_its_place_up(
    tmp_path: Path,
) -> None:
    go = asyncio.Event()
    async with FakeVllm() as fake, crew(tmp_path, fake, limits={"max_in_flight": 1}) as made:
        fake.script(Hang(go))
        first = asyncio.create_task(made.post(headers=at("a")))
        await fake.received()
        leaving = asyncio.create_task(made.post(headers=at("b")))

        async def queued(number: int) -> bool:
            return bool((await made.shown())[name(fake)]["queued"] == number)

        await until(lambda: queued(1))
        leaving.cancel()
        await until(lambda: queued(0))
        go.set()
        assert (await first).status == 200
    assert len(fake.requests) == 1


# Metrics


async def test_the_metrics_are_of_all_workers_and_stay_when_one_dies(tmp_path: Path) -> None:
    async with FakeVllm() as fake, crew(tmp_path, fake) as made:
        connections = await made.each()
        for one in connections:
            for _ in range(3):
                await one.post(headers=at("s"))

        async def counted() -> bool:
            return await metric(made, "gateway_calls_total", status="2xx") == 6

        await until(counted)
        made.kill(connections[0].worker)
        await until(lambda: replaced(made, connections[0].worker))
        assert await counted()


async def replaced(made: Crew, worker: int) -> bool:
    workers = made.workers()
    return len(workers) == 2 and worker not in workers


# What dies


async def test_only_the_calls_of_a_worker_that_is_killed_break_and_nothing_is_held(
    tmp_path: Path,
) -> None:
    go = asyncio.Event()
    async with FakeVllm() as fake, crew(tmp_path, fake, limits={"max_in_flight": 2}) as made:
        fake.script(Hang(go), Hang(go))
        one, other = await made.each()
        broken = asyncio.create_task(one.post(headers=at("a")))
        await fake.received(1)
        sound = asyncio.create_task(other.post(headers=at("b")))
        await fake.received(2)
        queued = [asyncio.create_task((await made.to(w)).post()) for w in made.workers()]

        async def waiting(number: int) -> bool:
            return bool((await made.shown())[name(fake)]["queued"] == number)

        await until(lambda: waiting(2))
        made.kill(one.worker)
        results = await asyncio.gather(broken, return_exceptions=True)
        await until(lambda: waiting(0))
        go.set()
        assert (await sound).status == 200
        outcomes = await asyncio.gather(*queued, return_exceptions=True)
        await until(lambda: replaced(made, one.worker))

        async def counted() -> bool:
            told = [metric(made, "gateway_calls_total", status=s) for s in ("2xx", "broken")]
            return await asyncio.gather(*told) == [2, 2]

        await until(counted)
        (fresh,) = [worker for worker in made.workers() if worker != other.worker]
        served = await (await made.to(fresh)).post(headers=at("a"))
        await until(lambda: idle(made))
    assert isinstance(results[0], OSError)
    assert sorted(isinstance(outcome, OSError) for outcome in outcomes) == [False, True]
    assert served.status == 200


async def test_a_replica_that_dies_breaks_off_its_calls_in_all_workers(tmp_path: Path) -> None:
    gate = asyncio.Event()
    health = {"every": "50ms", "timeout": "100ms", "failures": 2}
    async with FakeVllm() as fake, crew(tmp_path, fake, health=health) as made:
        fake.script(events(CHUNK, Gate(gate)), events(CHUNK, Gate(gate)))
        connections = await made.each()
        begun = [await one.begin(STREAM) for one in connections]
        fake.pages["/health"] = Hang(gate)
        ended = await asyncio.gather(*(asyncio.to_thread(one.read) for one in begun))
    assert all(b"the replica is down: no answer within 0.1 s" in raw for raw in ended)


@define
class Dripping:
    """A stream that goes on until the event."""

    end: asyncio.Event

    async def send(self, request: web.Request, _: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while not self.end.is_set():
            await response.write(f"data: {json.dumps(CHUNK)}\n\n".encode())
            await asyncio.sleep(0.02)
        await response.write(b"data: [DONE]\n\n")
        return response


async def test_what_comes_to_a_worker_is_a_sign_of_life_of_its_replica(tmp_path: Path) -> None:
    end = asyncio.Event()
    health = {"every": "50ms", "timeout": "200ms", "failures": 2}
    async with FakeVllm() as fake, crew(tmp_path, fake, health=health) as made:
        fake.script(Dripping(end))
        call = asyncio.create_task(made.post(STREAM))
        await fake.received()
        fake.pages["/health"] = Hang(end, Status(200))
        seen = len(fake.looks)

        async def looked_at() -> bool:
            return len(fake.looks) > seen + 6

        await until(looked_at)
        state = (await made.shown())[name(fake)]["state"]
        end.set()
        answer = await call
    assert (state, answer.raw.endswith(b"data: [DONE]\n\n")) == ("up", True)
    assert b"error" not in answer.raw


async def test_calls_of_all_workers_go_elsewhere_when_their_replica_dies(tmp_path: Path) -> None:
    async with replicas(2) as fakes, crew(tmp_path, *fakes) as made:
        connections = await made.each()
        home = (await connections[0].post(headers=at("s"))).replica
        (dead,) = [fake for fake in fakes if name(fake) == home]
        await dead.stop()
        moved = [await one.post(headers=at("s")) for one in connections]
        failovers = await metric(made, "gateway_failovers_total", replica=home)
    assert {(answer.status, answer.replica == home) for answer in moved} == {(200, False)}
    assert failovers == 1


# The whole


async def test_the_configuration_is_read_again_by_all_workers(tmp_path: Path) -> None:
    async with replicas(2) as fakes, crew(tmp_path, fakes[0]) as made:
        await made.post()
        write(tmp_path, **config(fakes[1]))
        made.gateway.process.send_signal(signal.SIGHUP)

        async def moved() -> bool:
            return list(await made.shown()) == [name(fakes[1])]

        await until(moved)
        used = {(await one.post()).replica for one in [*await made.each(), *await made.each()]}
    assert used == {name(fakes[1])}


async def test_a_wrong_configuration_changes_nothing(tmp_path: Path) -> None:
    async with FakeVllm() as fake, crew(tmp_path, fake) as made:
        write(tmp_path, **{**config(fake), "workerz": 3})
        made.gateway.process.send_signal(signal.SIGHUP)

        async def said() -> bool:
            return "the configuration stays as it was" in log(made)

        await until(said)
        assert (await made.post()).status == 200


async def until_draining(made: Crew) -> None:
    async def refused() -> bool:
        return (await made.get("/ready")).status == 503

    await until(refused)


async def test_after_a_signal_the_calls_of_all_workers_end_well(tmp_path: Path) -> None:
    go = asyncio.Event()
    async with FakeVllm() as fake, crew(tmp_path, fake) as made:
        fake.script(Hang(go), Hang(go))
        connections = await made.each()
        calls = [asyncio.create_task(one.post()) for one in connections]
        await fake.received(2)
        made.gateway.process.send_signal(signal.SIGTERM)
        await until_draining(made)
        late = await made.post()
        go.set()
        answers = await asyncio.gather(*calls)
        assert await asyncio.to_thread(made.gateway.process.wait) == 0
    assert [answer.status for answer in answers] == [200, 200]
    assert (late.status, late.json["error"]["code"]) == (503, "draining")


async def test_a_second_signal_ends_the_calls_of_all_workers(tmp_path: Path) -> None:
    async with FakeVllm() as fake, crew(tmp_path, fake) as made:
        fake.script(Hang(), Hang())
        connections = await made.each()
        calls = [asyncio.create_task(one.post()) for one in connections]
        await fake.received(2)
        made.gateway.process.send_signal(signal.SIGTERM)
        await until_draining(made)
        made.gateway.process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(made.gateway.process.wait) == 0
        await fake.client_left(1)
        await fake.client_left(2)
        await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize("hurries", [False, True], ids=["in time", "by a second signal"])
async def test_a_worker_that_hangs_is_killed_in_the_end_and_that_is_said(
    hurries: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "LATE", 0.1)
    limits = Limits(drain=60.0 if hurries else 0.1)
    model = Model(base_url=("http://127.0.0.1:9",), model="m")
    async with supervising(Config({"policy": model}, workers=2, limits=limits)) as made:
        await made.listen("127.0.0.1", 0)
        await made.listening()
        process = made._posts[0].process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        hurry = asyncio.Event()
        if hurries:
            hurry.set()
        await made.drain(hurry)
    assert process.returncode == -signal.SIGKILL
    told = [one for one in caplog.messages if "worker" in one]
    assert told == ["a worker that did not end within 0.1 s was killed"]


async def test_the_workers_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    async with FakeVllm() as fake, crew(tmp_path, fake) as made:
        workers = made.workers()
        made.gateway.process.kill()
        while any(argv(worker) for worker in workers):
            await asyncio.sleep(0)


async def test_no_secret_is_in_the_arguments_or_the_environment_of_a_worker(
    tmp_path: Path,
) -> None:
    secrets = {"sessions": {"secret": "s3cret-1"}, "api_keys": {"me": "s3cret-2"}}
    async with FakeVllm() as fake, crew(tmp_path, fake, **secrets) as made:
        told = [argv(worker) + environment(worker) for worker in made.workers()]
    assert len(told) == 2
    assert not any(b"s3cret" in one for one in told)


async def test_keys_are_asked_for_by_workers_and_supervisor_alike(tmp_path: Path) -> None:
    async with FakeVllm() as fake, crew(tmp_path, fake, api_keys={"me": "key"}) as made:
        closed = [(await made.post()).status, (await made.get("/v1/models")).status]
        opened = await made.post(headers={"Authorization": "Bearer key"})
    assert (closed, opened.status) == ([401, 401], 200)


async def test_the_port_is_not_shared_with_another_gateway(tmp_path: Path) -> None:
    async with FakeVllm() as fake, crew(tmp_path, fake) as made:
        port = int(made.url.rpartition(":")[2])
        folder = tmp_path / "other"
        folder.mkdir()
        with pytest.raises(RuntimeError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with crew(folder, fake, listen={"port": port}):
                pass


class Unwilling:
    """A middleware that cannot begin."""

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        return await handler(call)

    async def __aenter__(self) -> None:
        raise RuntimeError("not in this process")

    async def __aexit__(self, *_: object) -> None: ...


async def test_without_any_worker_that_starts_the_gateway_gives_up(tmp_path: Path) -> None:
    async with FakeVllm() as fake:
        listed = {"base_url": fake.url, "model": "m", "middlewares": [f"{__name__}:Unwilling"]}
        with pytest.raises(RuntimeError, match=r"^the gateway ended with 1:\n") as raised:
            async with crew(tmp_path, models={"policy": listed}):
                pass
    assert "5 workers in a row have ended before they listened" in str(raised.value)


async def test_the_number_of_workers_needs_a_restart(tmp_path: Path) -> None:
    async with FakeVllm() as fake, crew(tmp_path, fake) as made:
        write(tmp_path, **config(fake, workers=3))
        made.gateway.process.send_signal(signal.SIGHUP)

        async def said() -> bool:
            return "workers has changed, which counts only after a restart" in log(made)

        await until(said)
        assert len(made.workers()) == 2
