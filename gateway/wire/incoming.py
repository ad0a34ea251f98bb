"""The requests in what a client sends."""

from typing import Protocol

import httptools

from gateway.wire.request import Request
from gateway.wire.site import TOO_LONG, Site

LONGEST_HEAD = 2**17
"""Bytes of a request's line and headers, and between two pieces of its body."""


class Hearer(Protocol):
    """Who hears of a client's requests, in their order."""

    def begun(self) -> None:
        """The headers of one are there, and its body is not."""

    def expected(self) -> None:
        """The client waits for a word before it sends the body."""

    def came(self, request: Request) -> None:
        """One is there."""

    def refused(self, status: int, message: str) -> None:
        """What comes is none that can be answered, and neither is what follows it."""

    def ignored(self) -> None:
        """One is there of which nobody wants to hear."""


class Incoming:
    """
    Reads requests, and tells ``hearer`` of them.

    Those whose headers are there and whose bodies are not count at their ``site`` as arriving.
    """

    def __init__(self, site: Site, hearer: Hearer) -> None:
        self._site = site
        self._hearer = hearer
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._head = self._length = 0
        self._late = self._upgrading = False
        self._again = b""  # the head of a request that is to be read again
        self.arriving = False
        """Whether one's headers are there and its body is not."""
        self.over = False
        """Whether what the client sends is for nobody any more."""

    def feed(self, data: bytes) -> None:
        """What the client has sent."""
        if self.over:
            return
        self._head += len(data)
        try:
            while data:
                data = self._read(data)
        except httptools.HttpParserCallbackError:
            raise  # a fault of ours: the loop logs it, and ends the connection
        except httptools.HttpParserError as error:
            self._refuse(400, f"it is not HTTP: {error}")
        if self._head > LONGEST_HEAD:
            self._refuse(431, f"the headers are longer than {LONGEST_HEAD} bytes")

    def stop(self) -> None:
        """No more will come, and what came is not kept until the garbage is collected."""
        self.over = True
        self._headers, self._body = [], []
        self._arrived()

    def _refuse(self, status: int, message: str) -> None:
        if not self.over:
            self.stop()
            self._hearer.refused(status, message)

    def _arrived(self) -> None:
        if self.arriving:
            self.arriving = False
            self._site.arriving(-1)

    def _read(self, data: bytes) -> bytes:
        """
        What is still to be read, if a client asks for another protocol, which nobody speaks here.

        The parser leaves out the body of such a request, so it has to be read again.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parser = httptools.HttpRequestParser(self)
            again, self._again = self._again, b""
            return again + data[upgrade.args[0] :]
        return b""

    # What the parser tells.

    def on_url(self, data: bytes) -> None:
        self._target += data

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.arriving:  # what comes after the body is none (RFC 9110 6.5.1)
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._head = self._length = 0
        self._upgrading = self._parser.should_upgrade() and self._parser.get_method() != b"CONNECT"
        if self.over or self._upgrading:
            return
        self._hearer.begun()
        self.arriving, self._late = True, self._site.draining
        self._site.arriving(1)
        for name, value in self._headers:
            if len(name) == 14 and name.lower() == b"content-length":
                if int(value) > self._site.longest_body:
                    self._refuse(413, TOO_LONG)
            elif len(name) == 6 and name.lower() == b"expect":
                self._expected(value)

    def _expected(self, what: bytes) -> None:
        knows = self._parser.get_http_version() != "1.0"
        if what.lower() == b"100-continue" and knows and not self.over:
            self._hearer.expected()

    def on_body(self, data: bytes) -> None:
        self._head = 0
        if self.over:
            return
        self._body.append(data)
        self._length += len(data)
        if self._length > self._site.longest_body:
            self._refuse(413, TOO_LONG)

    def on_message_complete(self) -> None:
        self._head = 0
        self._arrived()
        if self.over:
            self._hearer.ignored()
            return
        request = Request(
            self._parser.get_method(),
            self._target,
            self._headers,
            self._parser.should_keep_alive(),
            self._parser.get_http_version() != "1.0",
            self._body[0] if len(self._body) == 1 else b"".join(self._body),
            self._late,
        )
        self._target, self._headers, self._body = b"", [], []
        if self._upgrading:
            self._again = request.head(b"upgrade") + b"\r\n\r\n"
            return
        self.over = not request.keep_alive
        self._hearer.came(request)
