"""Where a configuration file of a given name lies."""

from pathlib import Path

import pytest

import launchers
from gateway.config.lookup import locate
from gateway.errors import ConfigError

SHIPPED = Path(launchers.__file__).parent / "configs"
TRAINING = "responses_api_models/vllm_model/configs/vllm_model_for_training.yaml"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def gym(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of an installed nemo-gym."""
    root = tmp_path / "site"
    touch(root / "nemo_gym" / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(root)
    return root


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_the_working_directory_comes_first(here: Path, gym: Path, tmp_path: Path) -> None:
    touch(tmp_path / "beside" / TRAINING)
    touch(gym / TRAINING)
    assert locate(TRAINING, tmp_path / "beside") != here / TRAINING
    touch(here / TRAINING)
    assert locate(TRAINING, tmp_path / "beside") == here / TRAINING


def test_then_beside_the_file_that_asks(here: Path, gym: Path, tmp_path: Path) -> None:
    touch(gym / TRAINING)
    beside = touch(tmp_path / "beside" / TRAINING)
    assert locate(TRAINING, tmp_path / "beside") == beside


def test_then_an_installed_nemo_gym_which_is_not_imported(here: Path, gym: Path) -> None:
    assert locate(TRAINING) == SHIPPED / "vllm_model" / "vllm_model_for_training.yaml"
    installed = touch(gym / TRAINING)
    assert locate(TRAINING) == installed


def test_then_what_we_ship_under_gyms_name_or_ours(here: Path) -> None:
    shipped = SHIPPED / "vllm_model" / "vllm_model.yaml"
    assert locate("responses_api_models/vllm_model/configs/vllm_model.yaml") == shipped
    assert locate("vllm_model/vllm_model.yaml") == shipped


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("local_vllm_model/configs/Qwen/Qwen3.5-27B.yaml", "Qwen/Qwen3.5-27B.yaml"),
        ("local_vllm_model/configs/local_vllm_model.yaml", "local_vllm_model.yaml"),
        (
            "local_vllm_model_proxy/configs/local_vllm_model_proxy.yaml",
            "local_vllm_model_proxy.yaml",
        ),
    ],
)
def test_gyms_names_of_files_with_a_launch_are_ours_too(here: Path, name: str, place: str) -> None:
    assert locate(f"responses_api_models/{name}") == SHIPPED / place


def test_what_we_ship_needs_no_folder_and_no_suffix(here: Path) -> None:
    assert locate("Qwen3.5-27B") == SHIPPED / "Qwen" / "Qwen3.5-27B.yaml"
    assert locate("vllm_model") == SHIPPED / "vllm_model" / "vllm_model.yaml"


def test_a_file_of_that_very_name_wins(here: Path, tmp_path: Path) -> None:
    beside = touch(tmp_path / "beside" / "Qwen3.5-27B")
    assert locate("Qwen3.5-27B", tmp_path / "beside") == beside
    own = touch(here / "Qwen3.5-27B")
    assert locate("Qwen3.5-27B", tmp_path / "beside") == own


def test_an_unknown_name_is_no_file_and_no_configuration(here: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        locate("Qwen3.5-27")
    assert raised.value.faults == [
        "no such file or configuration, did you mean Qwen3.5-27B? @ Qwen3.5-27"
    ]


def test_an_absolute_path_is_looked_for_there_only(here: Path, tmp_path: Path) -> None:
    name = str(tmp_path / "a.yaml")
    with pytest.raises(ConfigError) as raised:
        locate(name)
    assert raised.value.faults == [f"no such file, looked for {name} @ {name}"]
    assert locate(str(touch(tmp_path / "a.yaml"))) == tmp_path / "a.yaml"


def test_what_is_nowhere_says_where_it_was_looked_for(
    here: Path, gym: Path, tmp_path: Path
) -> None:
    places = [here, tmp_path, gym, SHIPPED]
    with pytest.raises(ConfigError) as raised:
        locate("no/such.yaml", tmp_path)
    looked = ", ".join(str(place / "no" / "such.yaml") for place in places)
    assert raised.value.faults == [f"no such file, looked for {looked} @ no/such.yaml"]


def test_a_folder_is_not_taken_for_a_file(here: Path) -> None:
    (here / "a.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"^no such file"):
        locate("a.yaml")
