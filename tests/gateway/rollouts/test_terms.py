"""What the lines of an output depend on."""

from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ConfigError
from gateway.rollouts.settings import Settings
from gateway.rollouts.terms import PIECE, agree, beside, digest


def settings(folder: Path, **fields: Any) -> Settings:
    return Settings(str(folder / "in.jsonl"), str(folder / "out.jsonl"), **fields)


def begun(folder: Path, content: bytes = b"one\ntwo\n", **fields: Any) -> None:
    """A run that has made lines of this input."""
    (folder / "in.jsonl").write_bytes(content)
    agree(settings(folder, **fields), begun=False, indexed=False)


def refused(folder: Path, **fields: Any) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        agree(settings(folder, **fields), begun=True, indexed=False)
    return raised.value.faults


def test_the_same_terms_are_agreed_on(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "agent_name": "a",
        "num_repeats_add_seed": True,
        "responses_create_params": {"temperature": 0.7, "metadata": {"a": "b"}},
        "max_steps": 5,
    }
    begun(tmp_path, **given)
    agree(settings(tmp_path, **given), begun=True, indexed=False)


def test_what_does_not_change_a_rollout_may_change(tmp_path: Path) -> None:
    begun(tmp_path, num_repeats=1, limit=1)
    agree(
        settings(tmp_path, num_repeats=3, num_samples_in_parallel=1, url="http://a", order="input"),
        begun=True,
        indexed=False,
    )


def test_an_input_may_have_grown(tmp_path: Path) -> None:
    begun(tmp_path)
    (tmp_path / "in.jsonl").write_bytes(b"one\ntwo\nthree\n")
    agree(settings(tmp_path), begun=True, indexed=False)
    (tmp_path / "in.jsonl").write_bytes(b"one\ntwo\n")
    said = ["the input is not the one that the output was made of @ input_jsonl_fpath"]
    assert refused(tmp_path) == said


@pytest.mark.parametrize("content", [b"one\n", b"ONE\ntwo\n", b"one\ntwO\nthree\n"])
def test_another_input_is_refused(tmp_path: Path, content: bytes) -> None:
    begun(tmp_path)
    (tmp_path / "in.jsonl").write_bytes(content)
    said = ["the input is not the one that the output was made of @ input_jsonl_fpath"]
    assert refused(tmp_path) == said


def test_all_other_terms_are_refused_by_their_names(tmp_path: Path) -> None:
    begun(tmp_path, agent_name="a", responses_create_params={"top_p": 1.0})
    path = tmp_path / "out.run.json"
    found = refused(
        tmp_path,
        agent_name="b",
        num_repeats_add_seed=True,
        responses_create_params={"top_p": 0.9},
        max_steps=3,
    )
    assert found == [
        f"the output was made with 'a' ({path}) @ agent_name",
        f"the output was made with False ({path}) @ num_repeats_add_seed",
        f"the output was made with {{'top_p': 1.0}} ({path}) @ responses_create_params",
        f"the output was made with None ({path}) @ max_steps",
    ]


def test_terms_that_are_refused_stay_as_they_were(tmp_path: Path) -> None:
    begun(tmp_path, max_steps=3)
    refused(tmp_path, max_steps=4)
    agree(settings(tmp_path, max_steps=3), begun=True, indexed=False)


def test_an_output_that_has_not_begun_takes_any_terms(tmp_path: Path) -> None:
    begun(tmp_path, max_steps=3)
    begun(tmp_path, max_steps=4)
    agree(settings(tmp_path, max_steps=4), begun=True, indexed=False)


@pytest.mark.parametrize("content", [None, b"", b'{"input_bytes"', b"\xff"])
def test_an_output_whose_terms_are_gone_is_refused(tmp_path: Path, content: bytes | None) -> None:
    begun(tmp_path)
    path = tmp_path / "out.run.json"
    path.unlink() if content is None else path.write_bytes(content)
    said = f"it cannot be gone on with: {path}, which says how it was made, cannot be read"
    assert refused(tmp_path) == [f"{said} @ output_jsonl_fpath"]


@pytest.mark.parametrize(
    ("output", "terms"),
    [("a.jsonl", "a.run.json"), ("a", "a.run.json"), ("a-7.5b", "a-7.5b.run.json")],
)
def test_no_two_outputs_share_their_terms(output: str, terms: str) -> None:
    assert beside(Settings("in.jsonl", f"results/{output}"), ".run.json") == Path("results", terms)


def test_a_digest_is_of_the_first_bytes(tmp_path: Path) -> None:
    whole, start = tmp_path / "whole", tmp_path / "start"
    start.write_bytes(b"x" * (PIECE + 5))
    whole.write_bytes(b"x" * (PIECE + 5) + b"more")
    assert digest(whole, PIECE + 5) == digest(start, PIECE + 5)
    assert digest(whole, PIECE + 6) != digest(start, PIECE + 5)


def test_terms_that_cannot_be_kept_are_told(tmp_path: Path) -> None:
    begun(tmp_path)
    (tmp_path / "out.run.json.new").mkdir()
    path = tmp_path / "out.run.json"
    said = f"{path} cannot be written: Is a directory @ output_jsonl_fpath"
    assert refused(tmp_path) == [said]


def test_where_rows_bring_their_indexes_the_repeats_must_stay(tmp_path: Path) -> None:
    begun(tmp_path, num_repeats=1)
    with pytest.raises(ConfigError) as raised:
        agree(settings(tmp_path, num_repeats=2), begun=True, indexed=True)
    path = tmp_path / "out.run.json"
    assert raised.value.faults == [f"the output was made with 1 ({path}) @ num_repeats"]
    agree(settings(tmp_path, num_repeats=1), begun=True, indexed=True)
