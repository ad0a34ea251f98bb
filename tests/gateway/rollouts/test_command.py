"""The arguments of ``collect``."""

import pytest

from gateway.errors import ConfigError
from gateway.rollouts.command import parse
from gateway.rollouts.settings import Settings

FILES = ("--input", "in.jsonl", "--output", "out.jsonl")


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def parsed(*argv: str) -> Settings:
    return parse([*FILES, *argv])


def faults(*argv: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        parse(argv)
    return raised.value.faults


@pytest.mark.parametrize(
    ("flags", "spelled"),
    [
        ((), ()),
        (("--agent-name", "a"), ("+agent_name=a",)),
        (("--url", "http://a:1/v1"), ("++url=http://a:1",)),
        (("--model", "policy"), ("+model=policy",)),
        (("--tools", "http://a:1"), ("++tools={'': 'http://a:1'}",)),
        (("--tools", "a=http://a:1", "--tools", "b=http://b:1"),
         ("++tools.a=http://a:1", "++tools.b=http://b:1")),
        (("--limit", "5"), ("+limit=5",)),
        (("--repeats", "4"), ("+num_repeats=4",)),
        (("--seed",), ("+num_repeats_add_seed=true",)),
        (("--concurrency", "9"), ("+num_samples_in_parallel=9",)),
        (("--resume",), ("+resume_from_cache=true",)),
        (("--retry-failed",), ("+retry_failed=true",)),
        (("--order", "input"), ("+order=input",)),
        (("--session", "path"), ("+session=path",)),
        (("--max-steps", "7"), ("+max_steps=7",)),
        (("--timeout", "10m"), ("+timeout=600",)),
    ],
)  # fmt: skip
def test_flags_and_the_seeds_spelling_give_the_same(
    flags: tuple[str, ...], spelled: tuple[str, ...]
) -> None:
    files = ("+input_jsonl_fpath=in.jsonl", "+output_jsonl_fpath=out.jsonl")
    assert parse([*FILES, *flags]) == parse([*files, *spelled])


def test_fields_of_every_request_are_overrides() -> None:
    settings = parsed("++responses_create_params.temperature=0.7", "+responses_create_params.n=2")
    assert settings.responses_create_params == {"temperature": 0.7, "n": 2}


def test_repeats_may_be_given_for_each_agent() -> None:
    settings = parsed("++num_repeats.a=4", "++num_repeats._default=1")
    assert settings.num_repeats == {"a": 4, "_default": 1}


def test_an_override_wins_over_a_flag_wherever_it_stands() -> None:
    assert parsed("++num_repeats=2", "--repeats", "3").num_repeats == 2


def test_a_server_whose_address_has_an_equals_sign_is_that_of_all_agents() -> None:
    assert parsed("--tools", "http://a:1/x=y").tools == {"": "http://a:1/x=y"}


def test_the_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    assert parsed().api_key == "sk-environment"
    assert parsed("--api-key", "sk-flag").api_key == "sk-flag"


def test_an_empty_key_of_the_environment_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "")
    assert parsed().api_key is None


def test_all_faults_are_told_at_once_under_their_keys() -> None:
    assert faults("--repeats", "0", "++order=random", "++limits=3") == [
        "required @ input_jsonl_fpath",
        "required @ output_jsonl_fpath",
        "num_repeats must be more than 0, got 0 @ num_repeats",
        "expected 'completion' or 'input', got 'random' @ order",
        "unknown key 'limits', did you mean 'limit'? @ top level",
    ]


def test_a_variable_that_is_not_there_is_told() -> None:
    (said,) = faults("++agent_name=${oc.env:NOBODY_HAS_SET_THIS}")
    assert said.endswith(" @ agent_name")


def test_an_unknown_flag_ends_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parsed("--concurency", "3")
    assert ended.value.code == 2
    assert "unrecognized arguments: --concurency" in capsys.readouterr().err
