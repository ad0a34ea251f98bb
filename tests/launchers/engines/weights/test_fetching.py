"""Weights for models and nodes, against a hub on loopback."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from gateway.errors import LaunchError
from launchers.engines.node.errand import Errand
from launchers.engines.planning.topology import Node
from launchers.engines.weights.fetching import Runs, Wanted, fetch, fetch_all
from launchers.engines.weights.progress import Progress
from tests.fake_hub import EXPIRED, GOOD, POOR, FakeHub, Repo, fake_hub

FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 100_000}
REPOS = {
    "org/plain": Repo(FILES),
    "org/gated": Repo(FILES, gated=True),
    "org/private": Repo(FILES, private=True),
    "org/cut": Repo(FILES, cut=["model.safetensors"]),
    "org/down": Repo(FILES, status=503),
    "org/busy": Repo(FILES, status=429),
    "org/bare": Repo({"config.json": b"{}"}),
    "org/big": Repo({**FILES, "model.safetensors": bytes(4_000_000)}),
}
SMALL_DISK = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
MOUNTED = 'mount -t tmpfs -o size=1m none "$HF_HOME" && exec "$0" "$@"'
PLACES = [Node("a", "10.0.0.1", 8, 8), Node("b", "10.0.0.2", 8, 8), Node("c", "10.0.0.3", 8, 8)]
AGAIN = "start again; files that are complete are kept"


class OnSmallDisk(Errand):
    """Runs where HF_HOME is a disk of one mebibyte."""

    async def run(
        self, argv: Sequence[str], environment: Mapping[str, str | None]
    ) -> dict[str, Any]:
        return await super().run([*SMALL_DISK, MOUNTED, *argv], environment)


class OnOwnDisk(Errand):
    """Runs where HF_HOME is another folder than for others."""

    def __init__(self, disk: Path) -> None:
        super().__init__()
        self.disk = disk

    async def run(
        self, argv: Sequence[str], environment: Mapping[str, str | None]
    ) -> dict[str, Any]:
        return await super().run(argv, {**environment, "HF_HOME": str(self.disk)})


def can_mount(folder: Path) -> bool:
    home = {**os.environ, "HF_HOME": str(folder)}
    tried = subprocess.run([*SMALL_DISK, MOUNTED, "true"], env=home, check=False, stderr=-3)
    return tried.returncode == 0


def wanted(hub: FakeHub, home: Path, model: str = "org/plain", **fields: Any) -> Wanted:
    environment = {"HF_ENDPOINT": hub.url, **fields.pop("environment", {})}
    plain = Wanted(model, None, str(home), None, None, sys.executable, environment)
    return evolve(plain, **fields)


def silent(_: Progress) -> None: ...


async def refusal(what: Wanted, errand: Errand) -> str:
    try:
        await fetch(what, errand, silent)
    except LaunchError as error:
        return str(error)
    return "no refusal"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hf")


@pytest.fixture(scope="module")
def refusals(home: Path) -> dict[str, str]:
    """What is said in each case; they run at the same time."""

    async def all_of_them() -> dict[str, str]:
        async with fake_hub(REPOS) as hub:
            cases = _cases(hub, home)
            said = await asyncio.gather(
                *(
                    refusal(what, OnSmallDisk() if name == "disk full" else Errand())
                    for name, what in cases.items()
                )
            )
            return dict(zip(cases, said, strict=True))

    return asyncio.run(all_of_them())


def _cases(hub: FakeHub, home: Path) -> dict[str, Wanted]:
    def case(model: str, **fields: Any) -> Wanted:
        return wanted(hub, home, model, **fields)

    python = home / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    python.chmod(0o755)
    return {
        "gated": case("org/gated"),
        "gated, other account": case("org/gated", token=POOR),
        "not found": case("org/none"),
        "private, other account": case("org/private", token=POOR),
        "token expired": case("org/private", token=EXPIRED),
        "wrong revision": case("org/plain", revision="v9"),
        "no name": case("org/plain/more"),
        "offline": case("org/plain", environment={"HF_HUB_OFFLINE": "1"}),
        "unreachable": case("org/plain", environment={"HF_ENDPOINT": "http://127.0.0.1:9"}),
        "limited": case("org/busy"),
        "out of order": case("org/down"),
        "interrupted": case("org/cut"),
        "disk full": case("org/big"),
        "no weights": case("org/bare"),
        "no folder": case("/no/such"),
        "no client": case("org/plain", python=str(python)),
        "crash": case("org/plain", python="false"),
    }


SENTENCES = {
    "gated": "model org/gated is gated: open https://huggingface.co/org/gated, accept its "
    "conditions, and set HF_TOKEN to a token of that account",
    "gated, other account": "model org/gated is gated and the account of HF_TOKEN has no access: "
    "open https://huggingface.co/org/gated with that account, accept its conditions, and start "
    "again once access is granted",
    "not found": "model org/none is not on the Hugging Face Hub or is private: check the name, "
    "and for a private model set HF_TOKEN to a token that may read it",
    "private, other account": "model org/private is not on the Hugging Face Hub or is private: "
    "check the name, and for a private model that the token in HF_TOKEN may read it",
    "token expired": "the Hugging Face Hub does not accept HF_TOKEN for model org/private: make a "
    "new token at https://huggingface.co/settings/tokens and set HF_TOKEN to it",
    "wrong revision": "model org/plain has no revision v9: set revision to a branch, tag or commit "
    "that https://huggingface.co/org/plain/tree/main lists",
    "no name": "model org/plain/more is neither a folder nor a name on the Hugging Face Hub: give "
    "ORG/NAME or the absolute path of a folder",
    "offline": "HF_HUB_OFFLINE is set and {home} does not hold all of model org/plain: unset it "
    "until the weights are downloaded, or set hf_home to where they are",
    "unreachable": "the Hugging Face Hub cannot be reached for model org/plain (ConnectError: "
    "[Errno 111] Connection refused): check network, proxy and HF_ENDPOINT, or download the "
    "weights elsewhere into hf_home and set HF_HUB_OFFLINE=1",
    "limited": "the Hugging Face Hub limits how often it is asked (429) for model org/busy: wait "
    "some minutes and start again, with HF_TOKEN set, which raises the limit",
    "out of order": "the Hugging Face Hub is out of order (it answered 503) for model org/down: "
    "start again later",
    "interrupted": "the download of model org/cut broke off (RemoteProtocolError: peer closed "
    "connection without sending complete message body (received 350000 bytes, expected 700000)): "
    f"{AGAIN}",
    "no weights": "{home}/hub/models--org--bare/snapshots/c0ffee0000000000000000000000000000000000 "
    "has no weights (consolidated*.safetensors or *.safetensors or *.bin or *.pt): complete it, or "
    "set load_format to what is there",
    "no folder": "model /no/such is a path, but there is no such folder: put the model there, on "
    "every node that runs it, or on a disk that they share",
    "no client": "{home}/python has no huggingface_hub, which downloads model org/plain: run "
    "{home}/python -m pip install 'huggingface_hub>=2.4'",
    "crash": "model org/plain could not be downloaded (exit code 1, it said nothing): set that "
    f"right, and {AGAIN}",
}


@pytest.mark.parametrize("case", SENTENCES)
def test_each_failure_is_a_sentence_that_says_what_to_do(
    refusals: dict[str, str], home: Path, case: str
) -> None:
    assert refusals[case] == SENTENCES[case].format(home=home)


def test_a_full_disk_says_how_much_is_needed(
    refusals: dict[str, str], home: Path, tmp_path: Path
) -> None:
    if not can_mount(tmp_path):
        pytest.skip("this machine lets nobody mount a small disk")
    assert refusals["disk full"] == (
        f"the disk of {home} is full: model org/big takes 0.004 GB there; free as much, or set "
        f"hf_home to a bigger disk, and {AGAIN}"
    )


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    async with fake_hub({"org/plain": Repo(FILES), "org/other": Repo(FILES)}) as server:
        yield server


def here(_: Node) -> AbstractAsyncContextManager[Runs]:
    return nullcontext(Errand())


def on_own_disks(folder: Path) -> Callable[[Node], AbstractAsyncContextManager[Runs]]:
    return lambda node: nullcontext(OnOwnDisk(folder / node.id))


async def test_nodes_that_share_a_disk_download_once(hub: FakeHub, tmp_path: Path) -> None:
    await fetch_all([(wanted(hub, tmp_path), PLACES)], here, silent)
    assert hub.downloads == ["config.json", "model.safetensors"]


async def test_nodes_with_disks_of_their_own_download_each(hub: FakeHub, tmp_path: Path) -> None:
    await fetch_all([(wanted(hub, tmp_path), PLACES[:2])], on_own_disks(tmp_path), silent)
    assert hub.downloads == ["config.json"] * 2 + ["model.safetensors"] * 2


async def test_two_engines_of_one_model_on_one_node_look_once(hub: FakeHub, tmp_path: Path) -> None:
    what = (wanted(hub, tmp_path), PLACES[:1])
    await fetch_all([what, what], here, silent)
    assert hub.calls.count(("GET", "/api/models/org/plain")) == 1


async def test_the_progress_names_model_and_node(hub: FakeHub, tmp_path: Path) -> None:
    seen: list[Progress] = []
    await fetch_all([(wanted(hub, tmp_path), PLACES[:1])], here, seen.append)
    assert seen[-1] == Progress("org/plain", 700_002, 700_002, "10.0.0.1", finished=True)


async def test_the_progress_is_reported_while_it_is_made(hub: FakeHub, tmp_path: Path) -> None:
    hub.repos["org/plain"].held["model.safetensors"] = gate = asyncio.Event()
    seen: list[Progress] = []

    def report(progress: Progress) -> None:
        seen.append(progress)
        gate.set()

    await fetch(wanted(hub, tmp_path), Errand(), report)
    assert (seen[0].done < seen[0].total, seen[-1].done) == (True, 700_002)


async def test_the_faults_of_all_models_and_nodes_are_told(hub: FakeHub, tmp_path: Path) -> None:
    jobs = [
        (wanted(hub, tmp_path, "/no/such"), PLACES[:2]),
        (wanted(hub, tmp_path), PLACES[:1]),
        (wanted(hub, tmp_path, revision="v9"), PLACES[:2]),
    ]
    with pytest.raises(LaunchError) as caught:
        await fetch_all(jobs, here, silent)
    assert [fault.partition(":")[0::2] for fault in caught.value.faults] == [
        ("node 10.0.0.1", " " + SENTENCES["no folder"]),
        ("node 10.0.0.2", " " + SENTENCES["no folder"]),
        ("node 10.0.0.1", " " + SENTENCES["wrong revision"]),
    ]


async def test_a_token_opens_what_is_gated(hub: FakeHub, tmp_path: Path) -> None:
    hub.repos["org/plain"].gated = True
    await fetch(wanted(hub, tmp_path, token=GOOD), Errand(), silent)
    assert hub.downloads == ["config.json", "model.safetensors"]


def test_a_token_is_not_shown(tmp_path: Path) -> None:
    assert GOOD not in repr(wanted(FakeHub(), tmp_path, token=GOOD))
