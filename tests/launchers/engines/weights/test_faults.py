"""The sentences for what a hub on loopback cannot be made to do, or only with luck."""

import errno
from typing import Any

import pytest

from launchers.engines.weights.faults import sentence


def said(fault: str = "raised", **more: Any) -> str:
    outcome = {
        "fault": fault,
        "classes": ["Some", "OSError"],
        "errno": None,
        "status": None,
        "detail": "Some: thing",
        "token": False,
        "downloading": True,
        **more,
    }
    return sentence(outcome, model="org/plain", revision="v1", hf_home="/hf", python="python3")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_and_a_quota_say_how_much_is_needed(number: int) -> None:
    assert said(errno=number, total=16_400_000_000) == (
        "the disk of /hf is full: model org/plain (revision v1) takes 16.4 GB there; free as much, "
        "or set hf_home to a bigger disk, and start again; files that are complete are kept"
    )


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_named(number: int) -> None:
    assert said(errno=number) == (
        "/hf cannot be written for model org/plain (revision v1) (Some: thing): give this user the "
        "right to, or set hf_home to another folder"
    )


def test_a_refusal_carries_the_words_of_the_hub() -> None:
    assert said(status=403) == (
        "the Hugging Face Hub refuses model org/plain (revision v1): Some: thing; see "
        "https://huggingface.co/org/plain"
    )


@pytest.mark.parametrize("base", ["TransportError", "ConnectionError", "Timeout"])
def test_a_connection_that_breaks_is_told_for_every_http_client(base: str) -> None:
    assert said(classes=["Some", base, "OSError"]) == (
        "the download of model org/plain (revision v1) broke off (Some: thing): start again; files "
        "that are complete are kept"
    )


def test_the_nearest_base_of_an_error_counts() -> None:
    classes = ["GatedRepoError", "RepositoryNotFoundError"]
    assert said(classes=classes).startswith("model org/plain (revision v1) is gated: open ")


@pytest.mark.parametrize(
    ("fault", "more", "words"),
    [
        (
            "no_config",
            {"folder": "/m"},
            "/m has no config.json, so it is no model: give the folder that holds config.json and "
            "the weights",
        ),
        (
            "no_weights",
            {"folder": "/m", "detail": "*.bin"},
            "/m has no weights (*.bin): complete it, or set load_format to what is there",
        ),
        (
            "missing",
            {"folder": "/m", "detail": "a.safetensors"},
            "/m lacks a.safetensors, which its index lists: copy or download the model again",
        ),
    ],
)
def test_a_folder_that_is_no_model_is_named(fault: str, more: dict[str, str], words: str) -> None:
    assert said(fault, **more) == words


@pytest.mark.parametrize("status", [None, 418])
def test_what_nobody_foresaw_is_told_as_it_is(status: int | None) -> None:
    assert said(status=status) == (
        "model org/plain (revision v1) could not be downloaded (Some: thing): set that right, and "
        "start again; files that are complete are kept"
    )
