"""The command ``try``."""

import argparse
import asyncio
import os
import uuid
from collections.abc import Sequence
from urllib.parse import urlsplit

from gateway.bearer import with_key
from gateway.client.server import Client, Server
from gateway.config.units import Mismatch, root_url
from gateway.errors import GatewayError
from gateway.masking import without_user
from gateway.tryout import models
from gateway.tryout.advice import failed
from gateway.tryout.asking import NOT_OPENAI
from gateway.tryout.chat import Chat
from gateway.tryout.conversation import Conversation
from gateway.tryout.finding import Failed, Finding
from gateway.tryout.findings import findings
from gateway.tryout.language import Language
from gateway.tryout.report import Report
from gateway.tryout.responses import Responses
from gateway.upstream.connections import Upstream

ADDRESS = "http://127.0.0.1:8000"
LANGUAGES: Sequence[Language] = (Responses(), Chat())
FORMS = [(language, stream) for language in LANGUAGES for stream in (False, True)]
"""Of the conversations: each language, complete and streamed."""
CONNECT_TIMEOUT, TIMEOUT = 10.0, 300.0
"""Seconds."""


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 all is well, 1 something failed, 2 bad arguments."""
    options = _options(argv)
    try:
        bad = asyncio.run(_try(options.url, options.model, options.api_key))
    except KeyboardInterrupt:
        print("interrupted")
        return 1
    print(f"{bad} of {len(FORMS)} failed" if bad else "ok")
    return 1 if bad else 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    """Ends the process with status 2 for what is no argument."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway try",
        description="Hold one conversation with a tool, in both APIs, complete and streamed.",
    )
    parser.add_argument(
        "url", nargs="?", type=_url, default=ADDRESS, metavar="URL", help=f"default {ADDRESS}"
    )
    parser.add_argument("--api-key", metavar="KEY", help="default: OPENAI_API_KEY, if it is set")
    parser.add_argument("--model", metavar="NAME", help="default: the only one that is listed")
    options = parser.parse_args(argv)
    if "@" in urlsplit(options.url).netloc:
        if options.api_key:
            parser.error("a user in the URL, and --api-key: only one of them can be sent")
    elif options.api_key is None:
        options.api_key = os.environ.get("OPENAI_API_KEY")
    key = options.api_key or ""
    if not (key.isascii() and key.isprintable()):
        parser.error("the key cannot be sent: it has characters that no header may have")
    return options


def _url(value: str) -> str:
    try:
        return root_url(value)
    except Mismatch as mismatch:
        raise argparse.ArgumentTypeError(f"expected {mismatch.expected}") from None


async def _try(url: str, model: str | None, key: str | None) -> int:
    """How many conversations failed, or could not begin."""
    async with Upstream(CONNECT_TIMEOUT) as upstream:
        server = Server(url, upstream, with_key({}, key) if key else {}, TIMEOUT)
        report = Report.without(url, key)
        print(f"trying {without_user(url)}", flush=True)
        try:
            name = model or await _model(server)
        except Failed as failure:
            report.tell(failure.at("models"))
            return len(FORMS)
        return await _converse(server, name, report)


async def _model(server: Server) -> str:
    """The only one that there is; raises Failed."""
    try:
        return await models.only(server)
    except GatewayError as error:
        raise await failed(error, server, NOT_OPENAI) from None


async def _converse(server: Server, model: str, report: Report) -> int:
    """How many of the conversations failed."""
    bad = 0
    for language, stream in FORMS:
        client = Client(server, {"X-Session-ID": f"try-{uuid.uuid4().hex}"})
        conversation = Conversation(client, language, stream, model)
        held = await conversation.hold()
        told = [held] if isinstance(held, Finding) else [*findings(*held)]
        is_bad = any(finding.advice for finding in told)
        print(f"{conversation.title}: {'failed' if is_bad else 'ok'}")
        report.tell(*told)
        bad += is_bad
    return bad
