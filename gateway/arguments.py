"""The command line, read into files and overrides of the configuration."""

import argparse
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import fields, frozen

from gateway.config import Config, load
from gateway.errors import ConfigError

_OVERRIDE = re.compile(r"\+{1,2}|[^=/]+=")
_OF_THE_GATEWAY = {key.name for key in fields(Config)} - {"models", "default_model"}
_NO_MODEL = re.compile(rf"\+{{0,2}}({'|'.join(sorted(_OF_THE_GATEWAY))})[.=]")
"""Overrides that leave open which models there are."""

_MODEL_FLAGS = {
    "base_url": "base_url",
    "model": "model",
    "api_key": "api_key",
    "training": "return_token_id_information",
    "reasoning_parser": "uses_reasoning_parser",
}
_OTHER_FLAGS = {
    "host": "listen.host",
    "port": "listen.port",
    "workers": "workers",
    "record": "record",
}

_COMMANDS = ("check", "explain", "configs", "launch")

EPILOG = """\
With no model configured at all, an embedded simulated model is served.
CONFIG is a YAML file, or the name of a shipped one; several are chained, later ones win.
OVERRIDE is ++path.to.key=value.
Commands: check (print the configuration, the pipelines and what is launched), explain CONFIG
request.json (show what becomes of a request),
configs (list the shipped configurations), launch CONFIG --publish FILE (run engines without a
gateway; gateways read endpoint_file: FILE). Clients, with --help of their own: try [URL] (one
conversation with a tool), collect (rollouts over the rows of a file).
"""


@frozen
class Arguments:
    """What was asked for on the command line."""

    command: str
    files: tuple[str, ...]
    overrides: tuple[str, ...]
    request: str | None = None
    """The file with the request that ``explain`` explains."""
    publish: str | None = None
    """The file in which ``launch`` lists the engines."""

    @property
    def embedded(self) -> bool:
        """Whether nothing describes a model, so that the simulated one is served."""
        described = not all(map(_NO_MODEL.match, self.overrides))
        return not self.files and not described and not Path("env.yaml").exists()

    def config(self) -> Config:
        """The configuration; raises ConfigError with all its faults."""
        embedded = ("++models.simulated.launcher=simulated",) if self.embedded else ()
        return load(self.files, (*embedded, *self.overrides))


def parse(argv: Sequence[str]) -> Arguments:
    """The arguments; ends the process with status 2 where argparse would."""
    command, argv = _command(argv)
    options = _parser().parse_intermixed_args(argv)
    if command == "configs" and argv:
        raise ConfigError(f"configs lists them all, and takes nothing @ {argv[0]}")
    given: list[str] = options.given
    overrides = [word for word in given if _OVERRIDE.match(word) and not _is_file(word)]
    files = [word for word in given if word not in overrides]
    request = files.pop() if command == "explain" and files else None
    flags = [*_model_flags(options, files), *_flags(options, _OTHER_FLAGS, "")]
    settings = (*overrides, *flags)
    if command == "explain" and not (request and (files or settings)):
        raise ConfigError("explain needs a configuration and a file with a request")
    if (command == "launch") != (options.publish is not None):
        raise ConfigError("launch needs --publish FILE, and nothing else does @ --publish")
    return Arguments(command, tuple(files), settings, request, options.publish)


def _is_file(word: str) -> bool:
    try:
        return Path(word).exists()
    except OSError:  # too long for a name
        return False


def _command(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    if argv and argv[0] in _COMMANDS:
        return argv[0], argv[1:]
    return "serve", argv


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gateway",
        description="One OpenAI-compatible address in front of many vLLM replicas.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("given", nargs="*", metavar="CONFIG|OVERRIDE")
    parser.add_argument("--base-url", action="append", metavar="URL", help="a replica; repeatable")
    parser.add_argument("--model", metavar="NAME", help="the name that the replicas know it by")
    parser.add_argument("--api-key", metavar="KEY", help="sent to the replicas")
    parser.add_argument("--training", action="store_true", default=None, help="token ids on")
    parser.add_argument("--reasoning-parser", action="store_true", default=None)
    parser.add_argument("--host", help="default 127.0.0.1")
    parser.add_argument("--port", type=int, help="default 8000; 0 takes a free one")
    parser.add_argument("--workers", type=_workers, metavar="N", help="processes, or auto")
    parser.add_argument("--publish", metavar="FILE", help="where launch lists the engines")
    parser.add_argument("--record", metavar="DIR", help="write every call down, whole")
    return parser


def _workers(value: str) -> int | str:
    return int(value) if value.isdecimal() else value


def _model_flags(options: argparse.Namespace, files: Sequence[str]) -> Iterable[str]:
    flags = list(_flags(options, _MODEL_FLAGS, "models.policy."))
    if flags and files:
        raise ConfigError(
            "--base-url and its companions describe a model of their own; beside a configuration "
            "use ++path.to.key=value"
        )
    if flags and not options.base_url:
        raise ConfigError("--base-url is missing: the other flags describe its model")
    return flags


def _flags(options: argparse.Namespace, keys: Mapping[str, str], prefix: str) -> Iterable[str]:
    for name, key in keys.items():
        value: Any = getattr(options, name)
        if value is not None:
            yield f"++{prefix}{key}={json.dumps(value)}"
