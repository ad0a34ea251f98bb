"""The configurations that we ship, as they are named and listed."""

from pathlib import Path

import pytest

from gateway.config.shipped import Shipped, by_stem, is_stem, listing
from gateway.errors import ConfigError

PATHS = [Path("Qwen/small.yaml"), Path("Qwen/large.yaml"), Path("openai/small.yaml")]


def test_each_is_listed_with_its_model_and_its_first_line() -> None:
    assert (
        Shipped(
            "SmolLM2-135M-Instruct-cpu",
            "HuggingFaceTB/SmolLM2-135M-Instruct",
            "SmolLM2 135M Instruct for a laptop without a GPU, with the CPU build of vLLM.",
        )
        in listing()
    )


def test_a_model_that_is_left_open_is_shown_so() -> None:
    models = {shipped.name: shipped.model for shipped in listing()}
    assert models["local_vllm_model"] == "${policy_model_name}"
    assert models["nemotron_3_ultra_dev_nemorl_gb200"] == "???"
    assert models["local_vllm_model_proxy"] == ""


def test_every_description_is_a_sentence_of_one_line() -> None:
    said = [shipped.description for shipped in listing()]
    assert [text for text in said if text[:1] in ("", "#") or not text.endswith(".")] == []


def test_no_two_have_the_same_name() -> None:
    names = [shipped.name for shipped in listing()]
    assert len(set(names)) == len(names)


def test_they_come_by_folder() -> None:
    assert [shipped.name for shipped in listing()][:2] == [
        "SmolLM2-135M-Instruct-cpu",
        "Qwen3-235B-A22B-Instruct-2507-FP8",
    ]


@pytest.mark.parametrize("name", ["Qwen3.5-27B", "vllm_model", "x"])
def test_a_name_has_no_folder_and_no_suffix(name: str) -> None:
    assert is_stem(name)


@pytest.mark.parametrize("name", ["a.yaml", "a.yml", "Qwen/a", "/a"])
def test_a_path_is_no_name(name: str) -> None:
    assert not is_stem(name)


def test_one_is_found_by_its_name() -> None:
    assert by_stem("large", PATHS) == Path("Qwen/large.yaml")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("small", "several configurations have that name: Qwen/small.yaml, openai/small.yaml"),
        ("LARG", "no such file or configuration, did you mean large?"),
        ("a", "no such file or configuration, did you mean small or large or small?"),
        ("larje", "no such file or configuration, did you mean large?"),
        ("unlike", "no such file or configuration, the command configs lists them"),
    ],
)
def test_what_is_not_found_once_is_a_fault(name: str, fault: str) -> None:
    with pytest.raises(ConfigError) as raised:
        by_stem(name, PATHS)
    assert raised.value.faults == [f"{fault} @ {name}"]
