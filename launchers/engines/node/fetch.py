"""
Brings the weights of one model onto a node.

Run there as ``python -c SOURCE JSON``, with HF_HOME and, if need be, HF_TOKEN, HF_HUB_OFFLINE and
HF_ENDPOINT in the environment. Prints a JSON object a line: ``done`` and ``total`` bytes while it
works, and last either ``path`` (with ``total`` and maybe a ``notice``) or ``fault``, a word which
`weights_faults` turns into a sentence. The token is never printed.
"""

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from glob import escape
from pathlib import Path
from typing import Any, NoReturn

INDEXES = {
    "*.safetensors": "model.safetensors.index.json",
    "consolidated*.safetensors": "consolidated.safetensors.index.json",
}
SAFETENSORS, ANY = ("*.safetensors",), ("*.safetensors", "*.bin", "*.pt")
PATTERNS = {
    "auto": ("consolidated*.safetensors", *ANY),
    "hf": ANY,
    "bitsandbytes": ANY,
    "mistral": ("consolidated*.safetensors",),
    "pt": ("*.pt",),
    "npcache": ("*.bin", "*.pt"),
    "dummy": (),
    **dict.fromkeys(("safetensors", "fastsafetensors", "instanttensor"), SAFETENSORS),
    **dict.fromkeys(("runai_streamer", "runai_streamer_sharded", "sharded_state"), SAFETENSORS),
}
"""Which weights vLLM takes by ``load_format``: the first pattern that the top folder has."""

WEIGHTS = [
    f"*.{suffix}"
    for suffix in (
        *("safetensors", "bin", "pt", "pth", "ckpt", "h5", "msgpack"),
        *("onnx", "onnx_data", "gguf", "ot", "tflite", "nemo"),
    )
]
COPIES = ["original/*", "metal/*"]
"""Folders with the same weights once more, for other programs."""

INTERVAL = 0.3
"""Seconds between two lines of progress."""
LISTING = 30.0
"""Seconds that the Hub may take to list a model's files."""


class Fault(Exception):
    """Why there are no weights: a word for it, and what goes into the sentence."""

    def __init__(self, fault: str, **details: Any) -> None:
        self.said = {"fault": fault, **details}


def main() -> None:
    """Fetch what the argument says, and print how it ended."""
    signal.signal(signal.SIGTERM, _give_up)
    try:
        outcome = fetch(**json.loads(sys.argv[1]))
    except Fault as fault:
        outcome = fault.said
    except Exception as error:
        outcome = _raised(error)
    _say(outcome)


def fetch(model: str, revision: str | None, load_format: str | None) -> dict[str, Any]:
    """
    Find the model on this node, or bring it there.

    Raises Fault, and whatever the Hub's client raises.
    """
    load_format = load_format or "auto"
    if os.path.isdir(model):
        _check(Path(model), load_format)
        return {"path": model, "total": 0}
    if why := _not_ours(model):
        return {"path": model, "total": 0, "notice": f"left to vLLM, since {why}"}
    if model.startswith(("/", ".", "~")):
        raise Fault("no_folder")
    outcome = _from_hub(model, revision, load_format)
    if load_format not in PATTERNS:
        outcome["notice"] = f"the weights are left to vLLM, since load_format is {load_format}"
    return outcome


def _not_ours(model: str) -> str | None:
    if "://" in model:
        return "it is not on the Hugging Face Hub"
    if model.endswith(".gguf") or re.fullmatch(r"[\w.-]+/[\w.-]+:\w+", model):
        return "it names a GGUF file"
    if os.environ.get("VLLM_USE_MODELSCOPE", "").strip().lower() in ("1", "true"):
        return "VLLM_USE_MODELSCOPE is set"
    return None


def chosen(names: Iterable[str], load_format: str, index: Callable[[str], set[str]]) -> list[str]:
    """
    The files that vLLM needs: the weights it would load, and everything that is no weights.

    ``index`` reads the file names out of an index of shards. The rules are those of vLLM's
    ``DefaultModelLoader._prepare_weights`` and ``download_weights_from_hf``.
    """
    names = [name for name in names if not _matches(name, COPIES)]
    weights = _weights(names, load_format, index)
    return [name for name in names if name in weights or not _matches(name, WEIGHTS)]


def _weights(names: list[str], load_format: str, index: Callable[[str], set[str]]) -> set[str]:
    for pattern in PATTERNS.get(load_format, ()):
        found = {name for name in names if fnmatch(name, pattern)}
        if any("/" not in name for name in found):
            indexed = index(INDEXES[pattern]) if INDEXES.get(pattern) in names else set()
            return indexed or found
    return set()


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _shards(file: Path) -> set[str]:
    return set(json.loads(file.read_text()).get("weight_map", {}).values())


def _check(folder: Path, load_format: str) -> None:
    """That vLLM will find a configuration and whole weights here; needs no network."""
    names = [file.name for file in folder.iterdir() if file.is_file()]
    if not {"config.json", "params.json"} & {*names}:
        raise Fault("no_config", folder=str(folder))
    weights = _weights(names, load_format, lambda name: _shards(folder / name))
    if PATTERNS.get(load_format) and not weights:
        raise Fault("no_weights", folder=str(folder), detail=" or ".join(PATTERNS[load_format]))
    if missing := sorted(name for name in weights if not (folder / name).is_file()):
        raise Fault("missing", folder=str(folder), detail=", ".join(missing[:3]))


def _from_hub(model: str, revision: str | None, load_format: str) -> dict[str, Any]:
    from huggingface_hub import HfApi, constants, try_to_load_from_cache

    cache = os.path.join(constants.HF_HOME, "hub")  # where vLLM looks, by its download_dir
    try:
        known = HfApi().model_info(model, revision=revision, files_metadata=True, timeout=LISTING)
    except Exception as error:
        return _from_cache(model, revision, load_format, cache, error)
    sizes = {file.rfilename: file.size or 0 for file in known.siblings or ()}
    meter = Meter()
    try:
        names = chosen(sizes, load_format, lambda name: _index(model, name, known.sha, cache))
        cached = {n for n in names if _is_file(try_to_load_from_cache(model, n, cache, known.sha))}
        meter.start(sum(sizes[name] for name in cached), sum(sizes[name] for name in names))
        folder = _download(model, revision, names, cache, meter)
    except Exception as error:
        raise Fault(**_raised(error, downloading=True), total=meter.total) from error
    _check(Path(folder), load_format)
    return {"path": folder, "total": meter.total}


def _is_file(found: object) -> bool:
    return isinstance(found, str)  # neither None nor the mark of a file that the Hub lacks


def _index(model: str, name: str, revision: str | None, cache: str) -> set[str]:
    from huggingface_hub import hf_hub_download

    return _shards(Path(hf_hub_download(model, name, cache_dir=cache, revision=revision)))


def _download(
    model: str, revision: str | None, names: Iterable[str], cache: str, meter: "Meter"
) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import tqdm

    class Silent(tqdm):  # type: ignore[misc, unused-ignore]
        """Tells the meter of the bytes that were written, and draws nothing."""

        def __init__(self, *args: Any, **options: Any) -> None:
            self.counts = options.get("name") == "huggingface_hub.snapshot_download"
            options["disable"] = True
            super().__init__(*args, **options)  # type: ignore[no-untyped-call, unused-ignore]

        def update(self, n: float | None = 1) -> None:
            if self.counts:
                meter.add(int(n or 0))

    folder = snapshot_download(
        model,
        revision=revision,
        cache_dir=cache,
        allow_patterns=[escape(name) for name in names],
        tqdm_class=Silent,
    )
    return str(folder)


def _from_cache(
    model: str, revision: str | None, load_format: str, cache: str, error: Exception
) -> dict[str, Any]:
    """What is here already, if it is whole; else the fault is why the Hub did not list it."""
    from huggingface_hub import snapshot_download

    if {"RevisionNotFoundError", "HFValidationError"} & {*_classes(error)}:
        raise error
    try:
        folder = snapshot_download(
            model,
            revision=revision,
            cache_dir=cache,
            local_files_only=True,
            ignore_patterns=WEIGHTS + COPIES,
        )
        _check(Path(folder), load_format)
    except Exception:
        raise error from None
    if "OfflineModeIsEnabled" in _classes(error):
        return {"path": folder, "total": 0}
    notice = f"taken from {cache}, since the Hub did not answer ({_raised(error)['detail']})"
    return {"path": folder, "total": 0, "notice": notice}


class Meter:
    """Counts bytes from several threads and prints them, a few times a second."""

    def __init__(self) -> None:
        self.total = self._done = 0
        self._next = 0.0
        self._lock = threading.Lock()

    def start(self, done: int, total: int) -> None:
        self.total = total
        self.add(done)

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            if (now := time.monotonic()) >= self._next:
                self._next = now + INTERVAL
                _say({"done": self._done, "total": self.total})


def _raised(error: Exception, downloading: bool = False) -> dict[str, Any]:
    """What the Hub's client raised; behind "not found locally" is the real cause."""
    if "LocalEntryNotFoundError" in _classes(error) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    first = (getattr(error, "server_message", None) or str(error)).strip().split("\n")[0]
    plain = re.sub(r"\?[^\s'\"]*", "", first)  # an address may carry a signature
    return {
        "fault": "raised",
        "classes": _classes(error),
        "errno": getattr(error, "errno", None),
        "status": getattr(getattr(error, "response", None), "status_code", None),
        "detail": f"{type(error).__name__}: {plain[:300]}",
        "token": _has_token(),
        "downloading": downloading,
    }


def _classes(error: Exception) -> list[str]:
    """By name, because the classes and their homes differ between releases of the client."""
    return [known.__name__ for known in type(error).__mro__]


def _has_token() -> bool:
    try:
        from huggingface_hub import get_token
    except ImportError:
        return False
    return bool(get_token())


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def _give_up(*_: object) -> NoReturn:
    """
    End at once, without the partial files that only this process could have finished.

    The Hub's client removes them itself only when its threads are through with them.
    """
    for opened in Path("/proc/self/fd").iterdir():
        target = os.path.realpath(opened)
        if re.search(r"/blobs/\w+\.\w+\.incomplete$", target):
            os.unlink(target)
    os._exit(1)


if __name__ == "__main__":
    main()
