"""Errors on their way from one process to another."""

from collections.abc import Mapping

from msgspec import Struct

from gateway.errors import GatewayError, UpstreamUnreachable


class Fault(Struct, array_like=True):
    """A GatewayError with all its fields."""

    kind: str
    message: str
    status: int
    type: str
    param: str | None
    code: str | int | None
    retry_after: float | None
    replica: str | None
    attempts: int
    refused: bool

    @classmethod
    def of(cls, error: GatewayError) -> "Fault":
        return cls(
            type(error).__name__,
            error.message,
            error.status,
            error.type,
            error.param,
            error.code,
            error.retry_after,
            error.replica,
            error.attempts,
            isinstance(error, UpstreamUnreachable) and error.refused,
        )

    def error(self) -> GatewayError:
        """The same error again."""
        refused = {"refused": True} if self.refused else {}
        return _KINDS[self.kind](
            self.message,
            status=self.status,
            type=self.type,
            param=self.param,
            code=self.code,
            retry_after=self.retry_after,
            replica=self.replica,
            attempts=self.attempts,
            **refused,
        )


def _kinds(of: type[GatewayError]) -> Mapping[str, type[GatewayError]]:
    found = {of.__name__: of}
    for kind in of.__subclasses__():
        found |= _kinds(kind)
    return found


_KINDS = _kinds(GatewayError)
