"""The command line."""

from pathlib import Path

import pytest

from gateway.arguments import Arguments, parse
from gateway.errors import ConfigError


@pytest.fixture(autouse=True)
def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_nothing_means_the_embedded_model() -> None:
    arguments = parse([])
    assert arguments.embedded
    assert arguments.config().models.keys() == {"simulated"}


def test_where_to_listen_does_not_describe_a_model() -> None:
    arguments = parse(["--port", "0", "--host", "127.0.0.2", "--record", "calls"])
    assert arguments.embedded
    config = arguments.config()
    assert (config.listen.host, config.listen.port, config.record) == ("127.0.0.2", 0, "calls")


@pytest.mark.parametrize(
    "override",
    [
        "++limits.body=1MiB",
        "++sessions.cookie=c",
        "sessions={max: 5}",
        "listen.port=9101",
        "+listen.port=9101",
        "record=calls",
        "hf_token=t",
        "++api_keys.team=k",
        "health_needs_key=true",
    ],
)
def test_overrides_that_describe_no_model_leave_the_embedded_one(override: str) -> None:
    arguments = parse([override])
    assert arguments.embedded
    assert arguments.config().models.keys() == {"simulated"}


@pytest.mark.parametrize(
    "argv",
    [
        ["model.yaml"],
        ["listener.port=1"],
        ["++default_model=a"],
        ["models.a.base_url=http://h"],
        ["++policy_base_url=http://h/v1"],
        ["--base-url", "http://h/v1"],
        ["+config_paths=[a.yaml]"],
    ],
)
def test_anything_that_describes_a_model_ends_the_simulation(argv: list[str]) -> None:
    assert not parse(argv).embedded


def test_values_in_env_yaml_end_the_simulation(tmp_path: Path) -> None:
    (tmp_path / "env.yaml").write_text("policy_base_url: http://h/v1\n")
    assert not parse([]).embedded
    with pytest.raises(ConfigError, match="policy_base_url"):
        parse([]).config()


def test_flags_are_a_spelling_of_a_model() -> None:
    argv = ["--base-url", "http://a:1/v1", "--base-url", "http://b:2/v1/", "--model", "m"]
    model = (
        parse([*argv, "--api-key", "5", "--training", "--reasoning-parser"])
        .config()
        .models["policy"]
    )
    assert model.base_url == ("http://a:1", "http://b:2")
    assert (model.model, model.api_key) == ("m", "5")
    assert model.return_token_id_information
    assert model.uses_reasoning_parser


@pytest.mark.parametrize("flag", [["--training"], ["--model", "m"], ["--api-key", "k"]])
def test_flags_of_a_model_need_its_address(flag: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"^--base-url is missing: the other flags describe its"):
        parse(flag)


def test_flags_of_a_model_do_not_mix_with_files() -> None:
    with pytest.raises(ConfigError, match="describe a model of their own; beside a configuration"):
        parse(["a.yaml", "--base-url", "http://a:1"])


def test_files_and_overrides_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "odd=name.yaml").touch()
    argv = ["a.yaml", "++x.y=1", "z=2", "+w=3", "odd=name.yaml", "dir/with=sign/b.yaml"]
    assert parse(argv) == Arguments(
        "serve", ("a.yaml", "odd=name.yaml", "dir/with=sign/b.yaml"), ("++x.y=1", "z=2", "+w=3")
    )


def test_explain_takes_a_configuration_and_a_request() -> None:
    assert parse(["explain", "a.yaml", "++b=1", "r.json"]) == Arguments(
        "explain", ("a.yaml",), ("++b=1",), "r.json"
    )
    with pytest.raises(ConfigError, match="explain needs a configuration and a file"):
        parse(["explain", "r.json"])


def test_explain_takes_the_last_file_for_the_request() -> None:
    assert parse(["explain", "a.yaml", "r.json", "++record=calls"]) == Arguments(
        "explain", ("a.yaml",), ("++record=calls",), "r.json"
    )


def test_explain_takes_flags_for_a_configuration() -> None:
    assert parse(["explain", "--base-url", "http://a", "r.json"]) == Arguments(
        "explain", (), ('++models.policy.base_url=["http://a"]',), "r.json"
    )


def test_flags_may_stand_between_files_and_overrides() -> None:
    assert parse(["a.yaml", "--port", "9101", "++models.p.x=true"]) == Arguments(
        "serve", ("a.yaml",), ("++models.p.x=true", "++listen.port=9101")
    )


@pytest.mark.parametrize(("given", "setting"), [("2", "2"), ("auto", '"auto"')])
def test_workers_are_a_number_or_auto(given: str, setting: str) -> None:
    arguments = parse(["--workers", given])
    assert arguments.overrides == (f"++workers={setting}",)
    assert arguments.embedded


def test_shipped_configurations_are_listed_without_any_argument() -> None:
    assert parse(["configs"]) == Arguments("configs", (), ())
    with pytest.raises(ConfigError) as raised:
        parse(["configs", "a.yaml"])
    assert raised.value.faults == ["configs lists them all, and takes nothing @ a.yaml"]


def test_a_shipped_configuration_can_be_named_without_its_folder_and_suffix() -> None:
    size = "vllm_serve_kwargs.tensor_parallel_size"
    override = f"++Qwen3_5-27B.responses_api_models.local_vllm_model.{size}=2"
    arguments = parse(["Qwen3.5-27B", override])
    assert arguments == Arguments("serve", ("Qwen3.5-27B",), (override,))
    kwargs = arguments.config().models["Qwen3_5-27B"].vllm_serve_kwargs
    assert kwargs is not None
    assert kwargs["tensor_parallel_size"] == 2


def test_a_shipped_configuration_can_be_named_among_the_files_of_another() -> None:
    Path("mine.yaml").write_text("config_paths: [gpt-oss-20b-reasoning-high]\n")
    assert [*parse(["mine.yaml"]).config().models] == ["gpt-oss-20b-reasoning-high"]
    paths = parse(["+config_paths=[gpt-oss-20b-reasoning-high,Qwen3.5-27B]"])
    assert [*paths.config().models] == ["gpt-oss-20b-reasoning-high", "Qwen3_5-27B"]


def test_launch_takes_the_file_that_it_publishes() -> None:
    arguments = parse(["launch", "model.yaml", "--publish", "endpoints"])
    assert arguments == Arguments("launch", ("model.yaml",), (), publish="endpoints")


@pytest.mark.parametrize("argv", [["launch", "a.yaml"], ["a.yaml", "--publish", "endpoints"]])
def test_launch_and_publish_belong_together(argv: list[str]) -> None:
    with pytest.raises(ConfigError, match="launch needs --publish FILE, and nothing else does"):
        parse(argv)
