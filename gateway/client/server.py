"""An HTTP server, as its clients know it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.client import responses
from typing import Any

from attrs import define, field, frozen
from multidict import CIMultiDict

from gateway.codec import decode, encode
from gateway.core import Json
from gateway.errors import UpstreamError, UpstreamUnreachable
from gateway.masking import without_user
from gateway.upstream.connections import Upstream
from gateway.upstream.error import read_error
from gateway.upstream.reading import read
from gateway.wire.response import Response


@frozen
class Answer:
    """A reply, read whole."""

    status: int
    headers: Mapping[str, str]
    raw: bytes = field(repr=False)

    def error(self) -> UpstreamError:
        """The error that it tells; the message begins with the status."""
        word = responses.get(self.status, "without a word")
        error = read_error(self.status, self.raw or word.encode())
        error.message = f"{self.status} {error.message}"
        return error

    def json(self) -> Any:
        """The value; raises ValueError for what is no JSON."""
        return decode(self.raw)


@frozen
class Server:
    """
    An address, and what every request to it carries.

    What keeps a request from being answered is an UpstreamUnreachable that names the address.
    """

    url: str
    """Without ``/v1`` and a trailing slash."""
    upstream: Upstream = field(repr=False)
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    """They carry the key."""
    timeout: float = 3600.0
    """Seconds for one request and its answer."""

    async def get(self, path: str) -> Answer:
        """The answer to a GET, of whose headers only the gateway's own are kept."""
        return await self._request("GET", path)

    async def delete(self, path: str) -> Answer:
        """The same for a DELETE."""
        return await self._request("DELETE", path)

    async def _request(self, method: str, path: str) -> Answer:
        async with self.reaching():
            status, raw, headers = await self.upstream.request(method, self.url, path, self.headers)
            return Answer(status, headers, raw)

    @asynccontextmanager
    async def reaching(self) -> AsyncIterator[None]:
        """Inside of this one request is made."""
        place = without_user(self.url)
        try:
            async with asyncio.timeout(self.timeout):
                yield
        except UpstreamUnreachable as error:
            message = f"{place} {error.message.removeprefix('the replica ')}"
            raise UpstreamUnreachable(message, refused=error.refused) from None
        except TimeoutError:
            message = f"{place} did not answer within {self.timeout:g} s"
            raise UpstreamUnreachable(message, status=504, code="timeout") from None


@define
class Client:
    """One client of a server: what only its requests carry, and the cookies that it was given."""

    server: Server
    headers: Mapping[str, str] = field(factory=dict)
    prefix: str = ""
    """Stands before every path, as in ``/sessions/ID``."""
    cookies: dict[str, str] = field(factory=dict, repr=False)
    repeatable: bool = True
    """Whether a POST is made again where it is not known if it has arrived."""

    async def post(self, path: str, body: Json | bytes, **headers: str) -> Answer:
        """The answer, whatever its status."""
        async with self.server.reaching():
            response = await self.open(path, body, headers)
            return Answer(response.status, response.headers, await read(response))

    async def open(self, path: str, body: Json | bytes, headers: Mapping[str, str]) -> Response:
        """The reply, not yet read; to be called inside of ``server.reaching()``."""
        sent = CIMultiDict({"Content-Type": "application/json", **self.server.headers})
        sent.update(self.headers)
        sent.update(headers)
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        raw = body if isinstance(body, bytes) else encode(body)
        server = self.server
        response = await server.upstream.send(
            server.url, self.prefix + path, raw, sent, repeatable=self.repeatable
        )
        self.cookies |= _cookies(response)
        return response


def _cookies(response: Response) -> dict[str, str]:
    """Names and values as they came (RFC 6265 5.2); a rollout is too short for the rest."""
    pairs = [set_.partition(";")[0] for set_ in response.headers.getall("Set-Cookie", ())]
    named = [pair.partition("=") for pair in pairs]
    return {name.strip(): value.strip() for name, equals, value in named if equals and name.strip()}
