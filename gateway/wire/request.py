"""A request as it came."""

from attrs import define, field
from multidict import CIMultiDict


@define(eq=False)
class Request:
    """One request of a client, its body whole."""

    method: bytes
    target: bytes
    """Path and query, as they were sent."""
    raw_headers: list[tuple[bytes, bytes]]
    keep_alive: bool
    """Whether the client goes on with the connection."""
    chunked: bool
    """Whether the client knows chunks: HTTP/1.0 does not."""
    body: bytes = b""
    late: bool = False
    """Whether it came when its server was already about to stop."""
    headers: CIMultiDict[str] = field(init=False)
    """By names in any case."""

    @headers.default
    def _by_name(self) -> CIMultiDict[str]:
        return CIMultiDict(
            [
                (name.decode("latin-1"), value.rstrip(b" \t").decode("utf-8", "surrogateescape"))
                for name, value in self.raw_headers
            ]
        )

    def whole(self) -> bytes:
        """The same request in HTTP's words, and as the last one of its connection."""
        own = b"Connection: close\r\nContent-Length: %d" % len(self.body)
        return b"\r\n".join((self.head(*_REPLACED), own, b"", self.body))

    def head(self, *without: bytes) -> bytes:
        """Its first line and its headers, without those of these names, and without an end."""
        lines = [b"%b %b HTTP/1.%d" % (self.method, self.target, self.chunked)]
        lines += [b"%b: %b" % pair for pair in self.raw_headers if pair[0].lower() not in without]
        return b"\r\n".join(lines)


_REPLACED = frozenset(
    (b"connection", b"content-length", b"expect", b"keep-alive", b"transfer-encoding", b"upgrade")
)
"""Headers of the connection, and of how a body is sent."""
