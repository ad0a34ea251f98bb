"""A file that lists replicas, one a line, and is written anew when they move."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from attrs import define, field
from yarl import URL

from gateway.endpoint_list import Endpoint, read

logger = logging.getLogger(__name__)

Endpoints = tuple[Endpoint, ...]


async def watch(
    file: Path, *, grace: float, interval: float, users: bool = True
) -> AsyncGenerator[Endpoints, None]:
    """
    The replicas in the file, and again on every change; both times are in seconds.

    Without ``users`` a URL with a user does not count.

    What counts is the content, which is read every time: a file may be written twice within
    one tick of its time of change.
    """
    listing, shown = Listing(file, grace, users), None
    clock = asyncio.get_running_loop().time
    while True:
        found = listing.look(await asyncio.to_thread(_read, file), clock())
        if found != shown:
            shown = found
            yield found
        await asyncio.sleep(interval)


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


@define
class Listing:
    """What the file said, and since when it says nothing."""

    file: Path
    grace: float
    users: bool = True
    _text: str | None = field(default=None, init=False)
    _listed: Endpoints = field(default=(), init=False)
    _counting: Endpoints = field(default=(), init=False)
    _lost: float | None = field(default=None, init=False)

    def look(self, text: str, now: float) -> Endpoints:
        """The replicas that count at this moment; a missing file has no text."""
        if text != self._text:
            self._text, self._listed = text, tuple(self._parsed(text))
        if self._listed:
            self._found()
        elif self._lost is None:
            self._lose(now)
        elif self._counting and now - self._lost >= self.grace:
            self._give_up()
        return self._counting

    def _found(self) -> None:
        self._counting = self._listed
        if self._lost is not None:
            self._lost = None
            logger.warning("%s lists replicas again: %d", self.file, len(self._listed))

    def _lose(self, now: float) -> None:
        self._lost = now
        kept = len(self._counting)
        stay = f"; the last known ones ({kept}) stay for {self.grace:g} s" if kept else ""
        logger.warning("%s is missing or lists no replica%s", self.file, stay)

    def _give_up(self) -> None:
        self._counting = ()
        logger.warning("%s has listed no replica for %g s", self.file, self.grace)

    def _parsed(self, text: str) -> Iterator[Endpoint]:
        for number, line in enumerate(text.splitlines(), 1):
            try:
                endpoint = self._checked(read(line))
            except ValueError as error:
                logger.warning("%s, line %d: %s", self.file, number, error)
            else:
                if endpoint is not None:
                    yield endpoint

    def _checked(self, endpoint: Endpoint | None) -> Endpoint | None:
        if endpoint is None:
            return None
        if not is_root(endpoint.url):
            raise ValueError("not the http(s) URL of a server")
        if has_user(endpoint.url) and (endpoint.key or not self.users):
            raise ValueError("a user in the URL, and an api_key: only one of them can be sent")
        return endpoint


def has_user(url: str) -> bool:
    """Whether the URL carries a user, which is sent as Authorization."""
    return "@" in urlsplit(url).netloc


def is_root(url: str) -> bool:
    """Whether this is the address of a server whose name can be resolved."""
    try:
        parts = urlsplit(url)
        _ = parts.port
        (URL(url).raw_host or "").encode("idna")  # as it is done to resolve the name
    except ValueError:
        return False
    known = parts.scheme in ("http", "https") and parts.hostname and not parts.query
    return bool(known) and len(url.split()) == 1
