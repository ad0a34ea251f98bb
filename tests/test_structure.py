"""The shape of the repository: who imports whom, what matches what, how long things get."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from fnmatch import fnmatch
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("gateway", "middlewares", "launchers")
TOP = {"setup.cfg", "pyproject.toml", "README.md", *OURS, "tests"}
GROUPS = {
    "gateway.middlewares": "middlewares",
    "gateway.launchers": "launchers",
    "gateway.placements": "gateway.placements",
}

CONTRACT = (
    "core",
    "batches",
    "errors",
    "arrays",
    "chunks",
    "codec",
    "sse",
    "plugins",
    "shapes",
    "chat_request",
    "overflow",
    "endpoint_list",
    "masking",
    "bearer",
    "logs",
)
PURE = frozenset(f"gateway.{name}" for name in CONTRACT)
FOR_MIDDLEWARES = frozenset(
    f"gateway.{name}"
    for name in ("core", "errors", "arrays", "chunks", "codec", "chat_request", "overflow")
)
FOR_LAUNCHERS = FOR_MIDDLEWARES | {
    f"gateway.{name}" for name in ("sse", "endpoint_list", "masking", "bearer", "logs")
}
HEAVY = {"vllm", "ray", "huggingface_hub"}
INPUT_OUTPUT = {"aiohttp", "socket", "ssl", "http", "urllib.request"}

MAX_FUNCTION, MAX_FILE = 50, 300
UNTESTED = {"gateway/__main__.py"}
"""What holds nothing but a call of something tested elsewhere."""


def files(*folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]


def label(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def module(file: Path) -> str:
    return label(file).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def imports(node: ast.AST) -> Iterator[str]:
    """The modules that this code imports; ``from a import b`` counts as ``a`` and ``a.b``."""
    for child in ast.walk(node):
        match child:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(name, names, level):
                yield "." * level + (name or "")
                yield from (f"{'.' * level}{name or ''}.{alias.name}" for alias in names)


def imported_modules(node: ast.AST) -> set[str]:
    """Our own modules among the imports, told from the names inside of them."""
    known = {module(file) for file in files(*OURS)}
    return {name for name in imports(node) if name in known or name.startswith(".")} - set(OURS)


def outside_functions(source: ast.Module) -> Iterator[ast.AST]:
    """The statements that run when the module is imported."""
    waiting: list[ast.AST] = list(source.body)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            waiting.extend(ast.iter_child_nodes(node))


def allowed(file: Path, name: str) -> bool:
    """Whether this file may import this module of ours."""
    match module(file).split(".")[0]:
        case "middlewares":
            return name in FOR_MIDDLEWARES
        case "launchers":
            return name in FOR_LAUNCHERS or name.startswith("launchers.")
    return name in PURE if module(file) in PURE else name.startswith("gateway.")


@pytest.mark.parametrize("file", files(*OURS), ids=label)
def test_imports_go_one_way(file: Path) -> None:
    assert [name for name in imported_modules(tree(file)) if not allowed(file, name)] == []


@pytest.mark.parametrize("file", files(*OURS), ids=label)
def test_heavy_packages_are_imported_inside_functions_of_launchers(file: Path) -> None:
    seen = tree(file)
    inside = not module(file).startswith("launchers")
    nodes = ast.walk(seen) if inside else outside_functions(seen)
    statements = (node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))
    found = {name.split(".")[0] for node in statements for name in imports(node)}
    assert found & HEAVY == set()


@pytest.mark.parametrize(
    "file",
    [f for f in files(*OURS) if module(f) in PURE or module(f).startswith("gateway.dialects")],
    ids=label,
)
def test_the_contract_and_the_dialects_do_no_input_or_output(file: Path) -> None:
    names = {name for name in imports(tree(file)) if name != "urllib.parse"}
    roots = {root for name in names for root in (name, name.split(".")[0])}
    assert roots & INPUT_OUTPUT == set()


def test_the_command_starts_without_the_heavy_packages() -> None:
    code = f"import gateway.cli, sys; print(sorted({HEAVY!r} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.stdout, result.stderr) == ("[]\n", "")


@pytest.mark.parametrize("file", files("launchers/engines/node"), ids=label)
def test_what_runs_on_a_node_needs_only_the_standard_library(file: Path) -> None:
    allowed = sys.stdlib_module_names | ({"huggingface_hub"} if file.stem == "fetch" else set())
    assert {name.split(".")[0] for name in imports(tree(file))} - allowed == set()


def declared(group: str) -> dict[str, str]:
    """The entry points of a group in setup.cfg."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options.entry_points"][group].strip().splitlines()
    return {name.strip(): value.strip() for name, value in (line.split("=") for line in lines)}


@pytest.mark.parametrize("group", GROUPS)
def test_the_installed_entry_points_are_those_of_setup_cfg(group: str) -> None:
    installed = {entry.name: entry.value for entry in entry_points(group=group)}
    assert installed == declared(group), "reinstall: python -m pip install -e '.[test]'"


@pytest.mark.parametrize("group", GROUPS)
def test_a_plugin_has_the_name_of_its_file_and_of_its_class(group: str) -> None:
    expected = {name: f"{GROUPS[group]}.{name}:{camel(name)}" for name in declared(group)}
    assert declared(group) == expected


@pytest.mark.parametrize("group", GROUPS)
def test_the_class_of_a_plugin_is_in_its_file(group: str) -> None:
    folder = ROOT / GROUPS[group].replace(".", "/")
    homes = {name: folder / f"{name}.py" for name in declared(group)}
    assert [n for n, file in homes.items() if camel(n) not in classes(file)] == []


def test_every_middleware_is_a_plugin() -> None:
    names = {file.stem for file in files("middlewares")} - {"__init__"}
    assert names == set(declared("gateway.middlewares"))


def camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def classes(file: Path) -> set[str]:
    if not file.exists():
        return set()
    return {node.name for node in tree(file).body if isinstance(node, ast.ClassDef)}


def test_every_module_has_a_test_file_and_every_test_file_a_module() -> None:
    modules = {label(f) for f in files(*OURS) if f.name != "__init__.py"} - UNTESTED
    tests = {label(f) for f in files(*(f"tests/{folder}" for folder in OURS))}
    mirrors = {re.sub(r"([^/]+)$", r"test_\1", f"tests/{name}") for name in modules}
    assert {name for name in tests if "/test_" in name} == mirrors


def test_the_top_level_holds_only_what_belongs_there() -> None:
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().split()]
    found = {
        path.name
        for path in ROOT.iterdir()
        if not path.name.startswith(".") and not any(fnmatch(path.name, i) for i in ignored)
    }
    assert found == TOP


@pytest.mark.parametrize("file", files(*OURS, "tests"), ids=label)
def test_every_module_says_what_it_is(file: Path) -> None:
    assert ast.get_docstring(tree(file)) or not file.read_text()


@pytest.mark.parametrize("file", files(*OURS), ids=label)
def test_files_and_functions_stay_short(file: Path) -> None:
    functions = [
        node
        for node in ast.walk(tree(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    long = [f.name for f in functions if (f.end_lineno or 0) - f.lineno >= MAX_FUNCTION]
    assert (long, len(file.read_text().splitlines()) <= MAX_FILE) == ([], True)


def test_the_readme_lists_every_middleware() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert set(declared("gateway.middlewares")) <= set(rows)


@pytest.mark.parametrize("file", files(*OURS, "tests"), ids=label)
def test_nothing_points_outside_of_the_repository(file: Path) -> None:
    outside = re.compile(r"[.][.]/shared|[\"'](?:/work|/opt|/home|/root)/")
    assert outside.findall(file.read_text()) == []
