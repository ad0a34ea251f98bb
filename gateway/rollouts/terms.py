"""What the lines of an output depend on, kept beside it, so that those to come are like them."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import asdict, evolve, field, frozen

from gateway.codec import decode, encode
from gateway.config.structure import structure_options
from gateway.core import Json
from gateway.errors import ConfigError
from gateway.rollouts.settings import Settings

PIECE = 2**20


@frozen
class Terms:
    """Two runs of the same terms make the same rollouts of a row."""

    input_bytes: int
    input_digest: str
    """Of so many bytes from the start: an input may grow."""
    agent_name: str | None = None
    num_repeats_add_seed: bool = False
    responses_create_params: Json = field(factory=dict)
    max_steps: int | None = None
    num_repeats: int | Mapping[str, int] = 1
    """Matters where several rows have one index: with others, numbers would be other rows'."""

    @classmethod
    def of(cls, settings: Settings) -> "Terms":
        """Those of a run; raises OSError."""
        path = Path(settings.input_jsonl_fpath)
        size = path.stat().st_size
        return cls(
            input_bytes=size,
            input_digest=digest(path, size),
            agent_name=settings.agent_name,
            num_repeats_add_seed=settings.num_repeats_add_seed,
            responses_create_params=dict(settings.responses_create_params),
            max_steps=settings.max_steps,
            num_repeats=settings.num_repeats,
        )


def agree(settings: Settings, *, begun: bool, indexed: bool) -> None:
    """
    Keep the terms of the output; ``indexed`` if rows bring an index of their own.

    Raises ConfigError where one that has begun has others, and if they cannot be kept.
    """
    now, path = Terms.of(settings), beside(settings, ".run.json")
    if begun:
        before = _read(path)
        grown = now.input_bytes >= before.input_bytes
        start = digest(Path(settings.input_jsonl_fpath), before.input_bytes) if grown else ""
        known = evolve(now, input_bytes=before.input_bytes, input_digest=start)
        if not indexed:
            known = evolve(known, num_repeats=before.num_repeats)
        changed = [key for key, value in asdict(known).items() if getattr(before, key) != value]
        if changed:
            raise ConfigError([_told(key, before, path) for key in changed])
    try:
        _write(path, now)
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror} @ output_jsonl_fpath"
        raise ConfigError(message) from None


def beside(settings: Settings, ending: str) -> Path:
    """A file that belongs to the output: ``x.jsonl`` has its terms in ``x.run.json``."""
    output = Path(settings.output_jsonl_fpath)
    return output.with_name(output.name.removesuffix(".jsonl") + ending)


def _told(key: str, before: Terms, path: Path) -> str:
    if key == "input_digest":
        return "the input is not the one that the output was made of @ input_jsonl_fpath"
    return f"the output was made with {getattr(before, key)!r} ({path}) @ {key}"


def _read(path: Path) -> Terms:
    try:
        value: Any = decode(path.read_bytes())
    except (OSError, ValueError):
        message = f"it cannot be gone on with: {path}, which says how it was made, cannot be read"
        raise ConfigError(f"{message} @ output_jsonl_fpath") from None
    return structure_options(Terms, value if isinstance(value, dict) else {}, str(path))


def _write(path: Path, terms: Terms) -> None:
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(encode(asdict(terms)))
        file.flush()
        os.fsync(file.fileno())  # they must outlive what the lines outlive
    os.replace(new, path)


def digest(path: Path, size: int) -> str:
    """Of the first ``size`` bytes of a file."""
    found = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        for start in range(0, size, PIECE):
            found.update(file.read(min(PIECE, size - start)))
    return found.hexdigest()
