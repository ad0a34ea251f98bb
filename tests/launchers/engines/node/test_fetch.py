"""What is fetched of a model, against a hub on loopback."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from launchers.engines.node import fetch
from launchers.engines.node.errand import Errand
from tests.fake_hub import COMMIT, GOOD, FakeHub, Repo, fake_hub

SOURCE = Path(fetch.__file__).read_text()
SNAPSHOT = f"hub/models--org--plain/snapshots/{COMMIT}"
SHARDS = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
PLAIN = {
    "config.json": b"{}",
    "tokenizer.json": b"[]",
    "model.safetensors": b"weights" * 100_000,
}
COPIES = {
    "original/model.safetensors": b"again",
    "metal/model.bin": b"and again",
    "pytorch_model.bin": b"once more",
}


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    async with fake_hub({"org/plain": Repo(PLAIN | COPIES)}) as server:
        yield server


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to which the model was downloaded."""
    home = tmp_path_factory.mktemp("downloaded")

    async def download() -> None:
        async with fake_hub({"org/plain": Repo(PLAIN | COPIES)}) as server:
            await fetched(server, home)

    asyncio.run(download())
    return home


@pytest.fixture
def home(downloaded: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoiled."""
    return Path(shutil.copytree(downloaded, tmp_path / "home", symlinks=True))


class Fetching:
    """A download that runs."""

    def __init__(self, hub: FakeHub, home: Path, model: str, **more: str) -> None:
        request = {"model": model, "revision": None, "load_format": more.pop("load_format", None)}
        argv = [sys.executable, "-c", SOURCE, json.dumps(request)]
        environment = {"HF_HOME": str(home), "HF_ENDPOINT": hub.url, **more}
        self.end = asyncio.ensure_future(Errand().run(argv, environment))


async def fetched(hub: FakeHub, home: Path, model: str = "org/plain", **more: str) -> Any:
    end = await Fetching(hub, home, model, **more).end
    return json.loads(end["last"])


def names(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def remove(file: Path) -> None:
    file.unlink()


def model(folder: Path, *files: str, index: object = None) -> str:
    for file in files:
        (folder / file).write_text("{}")
    if index:
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return str(folder)


def fault(found: str, load_format: str | None = None) -> object:
    with pytest.raises(fetch.Fault) as caught:
        fetch.fetch(found, None, load_format)
    return caught.value.said


@pytest.mark.parametrize(
    ("there", "load_format", "wanted"),
    [
        ("a.safetensors b.bin c.pt", "auto", "a.safetensors"),
        ("b.bin c.pt", "auto", "b.bin"),
        ("c.pt", "auto", "c.pt"),
        ("consolidated.safetensors model.safetensors", "auto", "consolidated.safetensors"),
        ("consolidated.safetensors model.safetensors", "mistral", "consolidated.safetensors"),
        ("a.safetensors b.bin", "hf", "a.safetensors"),
        ("b.bin", "safetensors", ""),
        ("a.safetensors b.bin c.pt", "pt", "c.pt"),
        ("a.safetensors b.bin c.pt", "npcache", "b.bin"),
        ("a.safetensors b.bin c.pt", "dummy", ""),
        ("a.safetensors", "a_plugin", ""),
        ("a.safetensors sub/b.safetensors", "auto", "a.safetensors sub/b.safetensors"),
        ("a.safetensors original/a.safetensors metal/a.bin", "auto", "a.safetensors"),
        ("config.json x.gguf x.onnx x.h5 tokenizer.model", "dummy", "config.json tokenizer.model"),
    ],
)
def test_the_files_are_those_that_vllm_loads(there: str, load_format: str, wanted: str) -> None:
    assert fetch.chosen(there.split(), load_format, lambda _: set()) == wanted.split()


def test_an_index_says_which_of_the_safetensors_count() -> None:
    there = ["model.safetensors.index.json", "model-1.safetensors", "other.safetensors"]
    found = fetch.chosen(there, "auto", lambda _: {"model-1.safetensors"})
    assert found == ["model.safetensors.index.json", "model-1.safetensors"]


def test_the_snapshot_is_where_vllm_looks_and_holds_the_weights_once(downloaded: Path) -> None:
    assert names(downloaded / SNAPSHOT) == {*PLAIN}


async def test_a_second_time_no_file_is_downloaded(hub: FakeHub, downloaded: Path) -> None:
    found = await fetched(hub, downloaded)
    said = {"path": str(downloaded / SNAPSHOT), "total": 700_004}
    assert (found, hub.downloads) == (said, [])


async def test_an_index_is_followed(hub: FakeHub, tmp_path: Path) -> None:
    index = {"model.safetensors.index.json": json.dumps(SHARDS).encode()}
    shards = {"model-1.safetensors": b"1", "model-2.safetensors": b"2"}
    files = {"config.json": b"{}", **index, **shards}
    hub.repos["org/sharded"] = Repo(files | {"all.safetensors": b"12"})
    assert names(Path((await fetched(hub, tmp_path, "org/sharded"))["path"])) == {*files}


async def test_dummy_weights_are_not_downloaded(hub: FakeHub, tmp_path: Path) -> None:
    found = await fetched(hub, tmp_path, load_format="dummy")
    assert names(Path(found["path"])) == {"config.json", "tokenizer.json"}


def test_the_bytes_grow(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "INTERVAL", 0)
    meter = fetch.Meter()
    meter.start(10, 100)
    meter.add(30)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"done": 10, "total": 100}, {"done": 40, "total": 100}]


def test_the_bytes_are_told_only_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    meter = fetch.Meter()
    meter.start(0, 100)
    for _ in range(50):
        meter.add(1)
    assert capsys.readouterr().out.count("\n") == 1


async def test_an_interruption_keeps_what_is_complete_and_nothing_else(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.repos["org/plain"].held["model.safetensors"] = gate = asyncio.Event()
    fetching = Fetching(hub, tmp_path, "org/plain")
    await hub.sent.wait()
    while not {"config.json", "tokenizer.json"} <= names(tmp_path / SNAPSHOT):
        await asyncio.sleep(0.01)
    fetching.end.cancel()
    await asyncio.wait({fetching.end})
    partial = {name for name in names(tmp_path) if "incomplete" in name}
    gate.set()
    hub.calls.clear()
    await fetched(hub, tmp_path)
    assert (partial, hub.downloads) == (set(), ["model.safetensors"])


async def test_offline_a_whole_snapshot_needs_no_network(hub: FakeHub, downloaded: Path) -> None:
    found = await fetched(hub, downloaded, HF_HUB_OFFLINE="1")
    said = {"path": str(downloaded / SNAPSHOT), "total": 0}
    assert (found, hub.calls) == (said, [])


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
async def test_offline_a_snapshot_that_lacks_a_file_is_a_fault(
    hub: FakeHub, home: Path, file: str
) -> None:
    remove(home / SNAPSHOT / file)
    found = await fetched(hub, home, HF_HUB_OFFLINE="1")
    assert found["classes"][0] == "OfflineModeIsEnabled"


async def test_a_whole_snapshot_is_enough_when_the_hub_is_down(
    hub: FakeHub, downloaded: Path
) -> None:
    hub.repos["org/plain"].status = 503
    notice = f"taken from {downloaded}/hub, since the Hub did not answer (HfHubHTTPError: Not now)"
    assert (await fetched(hub, downloaded))["notice"] == notice


async def test_the_token_is_used_and_never_printed(hub: FakeHub, tmp_path: Path) -> None:
    hub.repos["org/plain"].gated = True
    end = await Fetching(hub, tmp_path, "org/plain", HF_TOKEN=GOOD).end
    assert (json.loads(end["last"])["total"], GOOD in str(end)) == (700_004, False)


def test_a_whole_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    folder = model(tmp_path, "config.json", "model.safetensors")
    assert fetch.fetch(folder, None, None) == {"path": folder, "total": 0}


def test_a_folder_without_a_configuration_is_a_fault(tmp_path: Path) -> None:
    assert fault(model(tmp_path, "a.bin")) == {"fault": "no_config", "folder": str(tmp_path)}


def test_a_folder_without_weights_is_a_fault(tmp_path: Path) -> None:
    found = fault(model(tmp_path, "config.json", "model.bin"), "safetensors")
    said = {"fault": "no_weights", "folder": str(tmp_path), "detail": "*.safetensors"}
    assert found == said


def test_a_folder_that_lacks_a_shard_is_a_fault(tmp_path: Path) -> None:
    found = fault(model(tmp_path, "config.json", "model-1.safetensors", index=SHARDS))
    said = {"fault": "missing", "folder": str(tmp_path), "detail": "model-2.safetensors"}
    assert found == said


@pytest.mark.parametrize("path", ["/no/such", "./no/such", "~/no/such"])
def test_a_path_that_does_not_exist_is_a_fault(path: str) -> None:
    assert fault(path) == {"fault": "no_folder"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("s3://bucket/model", "it is not on the Hugging Face Hub"),
        ("org/name/model.gguf", "it names a GGUF file"),
        ("org/name:Q4_K_M", "it names a GGUF file"),
    ],
)
def test_what_vllm_fetches_in_its_own_way_is_left_to_it(name: str, why: str) -> None:
    assert fetch.fetch(name, None, None)["notice"] == f"left to vLLM, since {why}"
