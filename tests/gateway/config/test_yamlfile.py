"""One YAML file: whatever is wrong in it has the file and the line."""

from pathlib import Path

import pytest

from gateway.config.yamlfile import read
from gateway.errors import ConfigError


def faults(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(path)
    return [fault.replace(str(path), "FILE") for fault in raised.value.faults]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def test_a_mapping_is_read(file: Path) -> None:
    file.write_text("a: {b: [1, 1e-3, no, 2024-01-01]}\n<<: {c: '${a.b}'}\n")
    tree = read(file)
    assert tree.a.b == [1, 0.001, False, "2024-01-01"]
    assert tree.c == tree.a.b


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_an_empty_mapping(file: Path, text: str) -> None:
    file.write_text(text)
    assert read(file) == {}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1\nb: 2\na: 3\n", "found duplicate key a @ FILE:3"),
        ("a:\n\tb: 1\n", "found character that cannot start any token @ FILE:2"),
        ("a: [1\n", "did not find expected ',' or ']' @ FILE:2"),
        ("a: 1\n---\nb: 2\n", "but found another document @ FILE:2"),
        ("a: !odd 1\n", "could not determine a constructor for the tag '!odd' @ FILE:1"),
        ("a: &x\n  b: *x\n", "YAML recursive aliases are not supported. @ FILE:1"),
        ("hello\n", "expected a mapping @ FILE:1"),
        ("# a list\n- 1\n", "expected a mapping @ FILE:2"),
        ("a: !!set {b}\n", "Value 'set' is not a supported primitive type @ a @ FILE"),
        ("a: !!int x\n", "invalid literal for int() with base 10: 'x' @ FILE"),
        ("a: \0\n", "unacceptable character #x0000: control characters are not allowed @ FILE"),
        (f"a: {'[' * 500}{']' * 500}\n", "nested too deeply @ FILE"),
    ],
)
def test_what_is_wrong_has_its_place(file: Path, text: str, fault: str) -> None:
    file.write_text(text)
    assert faults(file) == [fault]


def test_every_key_that_is_no_string_is_named(file: Path) -> None:
    file.write_text("1: a\nb:\n  null: c\n  ? [e]\n  : f\n  {d: 1}: e\n  'true': g\ng: [{no: h}]\n")
    assert sorted(faults(file)) == [
        "a key is not a string @ FILE:4",
        "a key is not a string @ FILE:6",
        "the key 1 is not a string @ FILE:1",
        "the key no is not a string @ FILE:8",
        "the key null is not a string @ FILE:3",
    ]


def test_a_broken_interpolation_is_named_and_not_quoted(file: Path) -> None:
    file.write_text("a:\n  api_key: sk-123${\n")
    assert faults(file) == ["not a valid interpolation @ a.api_key @ FILE"]


def test_a_file_must_be_utf8(file: Path) -> None:
    file.write_bytes(b"a: \xff")
    assert faults(file) == ["is not UTF-8 @ FILE"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert faults(tmp_path) == ["cannot be read: Is a directory @ FILE"]


def test_aliases_cannot_fill_the_memory(file: Path) -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    file.write_text("\n".join(["a0: &a0 [1]", *levels]))
    (fault,) = faults(file)
    assert fault.startswith("YAML node expansion exceeds the configured limit of 1000000.")
