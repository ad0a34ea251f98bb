"""The command line of the benchmark."""

from pathlib import Path

import pytest

from tests.bench.arguments import parse
from tests.bench.contenders import NAIVE, OURS, Contender
from tests.bench.scenarios import SCENARIOS


def test_without_options_all_scenarios_compare_ours_with_the_naive_one() -> None:
    options = parse([]).options
    assert options.scenarios == tuple(SCENARIOS.values())
    assert options.contenders == (NAIVE, OURS)


def test_scenarios_are_chosen_by_name() -> None:
    assert [s.name for s in parse(["--scenarios", "soak,small"]).options.scenarios] == [
        "soak",
        "small",
    ]


def test_an_unknown_scenario_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        parse(["--scenarios", "smal"])
    assert "'smal' is none of small, conversation-24k," in capsys.readouterr().err


def test_connections_and_model_replace_those_of_the_scenarios() -> None:
    [burst] = parse(["--scenarios=burst", "--connections=7", "--model=m"]).options.scenarios
    assert (burst.connections, burst.model) == (7, "m")


def test_gateways_are_given_by_command_or_by_a_known_name() -> None:
    given = parse(["--gateway", "ours", "--gateway", "peer=peer --port {port}"]).options
    assert given.contenders == (OURS, Contender("peer", "peer --port {port}"))


def test_a_gateway_of_unknown_name_needs_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--gateway", "nginx"])
    assert "'nginx' is none of naive, ours, NAME=COMMAND" in capsys.readouterr().err


def test_options_behind_two_dashes_go_to_our_gateway() -> None:
    naive, ours = parse(["--rounds=1", "--", "++limits.queue=5"]).options.contenders
    assert naive == NAIVE
    assert ours.words(1, ["http://a"], [])[3:] == [
        "--port",
        "1",
        "--base-url",
        "http://a",
        "++limits.queue=5",
    ]


def test_a_profile_is_one_round_of_our_gateway_below_py_spy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "py-spy").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    svg = tmp_path / "flames.svg"
    options = parse(["--profile", "small", "--svg", str(svg)]).options
    [watched] = options.contenders
    assert (options.rounds, [s.name for s in options.scenarios]) == (1, ["small"])
    words = watched.words(1, ["http://a"], [])
    assert (words[1], words[words.index("--output") + 1]) == ("record", str(svg))
    assert words[words.index("--") + 2 :][:2] == ["-m", "gateway"]


def test_without_py_spy_it_is_told_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit):
        parse(["--profile", "small"])
    assert "--profile needs py-spy: pip install py-spy" in capsys.readouterr().err
