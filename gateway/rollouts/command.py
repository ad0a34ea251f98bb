"""The command ``collect``."""

import argparse
import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.config.chain import overridden
from gateway.config.resolve import resolve
from gateway.config.structure import structure_options
from gateway.core import Json
from gateway.errors import ConfigError
from gateway.rollouts.run import run
from gateway.rollouts.settings import Settings

EPILOG = """\
OVERRIDE is ++key=value, with the keys of gateway/rollouts/settings.py, which are NeMo Gym's where
it has them; ++responses_create_params.temperature=0.7 sets a field of every row's request.
"""

_KEYS = {
    "input": "input_jsonl_fpath",
    "output": "output_jsonl_fpath",
    "repeats": "num_repeats",
    "seed": "num_repeats_add_seed",
    "concurrency": "num_samples_in_parallel",
    "resume": "resume_from_cache",
}
"""Flags whose keys have other names."""


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 all rollouts are there, 1 some failed, 128 and the signal that ended it."""
    settings = parse(argv)
    try:
        return asyncio.run(run(settings))
    except KeyboardInterrupt:  # before there was a rollout
        return 128 + signal.SIGINT


def parse(argv: Sequence[str]) -> Settings:
    """The settings; raises ConfigError with all faults, each with its key."""
    options = vars(_parser().parse_intermixed_args(argv))
    overrides = options.pop("overrides")
    tools = options.pop("tools")
    given = {_KEYS.get(name, name): value for name, value in options.items() if value is not None}
    return structure_options(Settings, {**_tools(tools), **given, **_overridden(overrides)})


def _overridden(words: Sequence[str]) -> Json:
    tree, faults = overridden(words), list[str]()
    plain = resolve(tree, tree.keys(), "", faults)
    if faults:
        raise ConfigError(faults)
    return plain


def _tools(given: Sequence[str]) -> Mapping[str, Any]:
    """``NAME=URL`` is the tool server of an agent, ``URL`` that of all others."""
    found = {}
    for word in given:
        name, equals, url = word.partition("=")
        named = equals and "/" not in name
        found[name if named else ""] = url if named else word
    return {"tools": found} if found else {}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gateway collect",
        description="Rollouts of a tool-calling agent over the rows of a file.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("overrides", nargs="*", metavar="OVERRIDE")
    add("--input", metavar="JSONL", help="one row a line, with responses_create_params")
    add("--output", metavar="JSONL", help="one finished rollout a line")
    add("--url", help="default http://127.0.0.1:8000")
    key = os.environ.get("OPENAI_API_KEY") or None
    add("--api-key", metavar="KEY", default=key, help="default OPENAI_API_KEY of the environment")
    add("--model", metavar="NAME", help="needed where the address has several")
    add("--agent-name", metavar="NAME", help="the agent of all rows")
    add(
        "--tools",
        action="append",
        default=[],
        metavar="[NAME=]URL",
        help="the tool server (of an agent); repeatable",
    )
    add("--limit", type=int, metavar="N", help="rows that are taken")
    add("--repeats", type=int, metavar="N", help="rollouts of each row")
    add("--seed", action="store_true", default=None, help="each with its number as its seed")
    add("--concurrency", type=int, metavar="N", help="rollouts at once, default 128")
    add("--resume", action="store_true", default=None, help="go on with the output")
    add("--retry-failed", action="store_true", default=None, help="and make failed ones again")
    add("--order", choices=("completion", "input"), help="of the lines in the end")
    add("--session", choices=("header", "path"), help="how a rollout is told to the address")
    add("--max-steps", type=int, metavar="N", help="calls of the model in one rollout")
    add("--timeout", metavar="DURATION", help="of one call of the model or a tool, default 1h")
    return parser
