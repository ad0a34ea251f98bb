"""
Writes the table of vLLM's flags, ``flags.json``, out of vLLM's own parser.

With a Python that has vLLM, in the checkout: ``PYTHON -m launchers.engines.generate_flags``. It
needs the standard library and vLLM only; the import of vLLM takes up to a minute. A build for
GPUs wants ``VLLM_TARGET_DEVICE=cpu`` in the environment where there is none.
"""

import argparse
import json
from argparse import ArgumentParser
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

PARSERS = (
    "vllm.entrypoints.common.cli_args",  # 0.33
    "vllm.entrypoints.launchers.cli_args",  # 0.31, 0.32
    "vllm.entrypoints.openai.cli_args",  # before
)
JSON = {"loads", "parse_dataclass", "union_dict_and_str"}
"""The functions by which vLLM's parser reads a word as JSON."""
REWRITTEN = "<lambda>"
"""What reads a word into another one before it is compared with the choices."""


def main() -> None:
    Path(__file__).with_name("flags.json").write_text(table(version(), parser()))


def version() -> str:
    """vLLM's version; builds of it (``+cpu``, ``+cu130``) have the same flags."""
    import vllm

    return str(vllm.__version__).partition("+")[0]


def parser() -> ArgumentParser:
    """The parser of vLLM's API server."""
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    empty: ArgumentParser = FlexibleArgumentParser()
    for module in PARSERS:
        with suppress(ModuleNotFoundError):
            complete: ArgumentParser = import_module(module).make_arg_parser(empty)
            return complete
    raise SystemExit(f"this vLLM has its parser in none of {', '.join(PARSERS)}")


def table(version: str, parser: ArgumentParser) -> str:
    """A JSON document with a line for each flag, sorted, so that differences read well."""
    rows = sorted(map(row, filter(is_flag, parser._actions)))
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(flag)}" for name, flag in rows)
    return f'{{\n"vllm": {json.dumps(version)},\n"flags": {{\n{lines}\n}}\n}}\n'


def is_flag(action: argparse.Action) -> bool:
    return bool(action.option_strings) and not isinstance(action, argparse._HelpAction)


def row(action: argparse.Action) -> tuple[str, dict[str, Any]]:
    """The name of a flag as a key, and what is needed to write it on a command line."""
    spelled = [option for option in action.option_strings if not option.startswith("--no-")]
    name, *others = [_key(option) for option in spelled if option.startswith("--")]
    aliases = sorted({*others, action.dest} - {name})
    short = sorted(_key(option) for option in spelled if not option.startswith("--"))
    choices = [] if _reader(action) == REWRITTEN else [c for c in action.choices or () if c]
    found = {"kind": kind(action), "choices": choices, "aliases": aliases, "short": short}
    return name, {key: value for key, value in found.items() if value}


def kind(action: argparse.Action) -> str:
    """How the value of a flag is written: see ``launchers.engines.flags``."""
    match action:
        case argparse.BooleanOptionalAction():
            return "toggle"
        case argparse._StoreTrueAction():
            return "switch"
        case argparse._AppendAction():
            return "append"
    match action.nargs:
        case None:
            return "json" if _reader(action) in JSON else "value"
        case "?":
            return "optional"
        case 0:
            raise TypeError(f"no kind of flag: {action}")
    return "list"


def _key(option: str) -> str:
    return option.lstrip("-").replace("-", "_")


def _reader(action: argparse.Action) -> str:
    """The name of the function that reads the word, inside of vLLM's ``optional_type(...)``."""
    reader: Any = action.type
    while closure := getattr(reader, "__closure__", None):
        reader = closure[0].cell_contents
    return getattr(reader, "__name__", "")


if __name__ == "__main__":
    main()
