"""A request for a model, and how it is answered."""

import re
from collections.abc import Mapping

from attrs import define, field

from gateway.assembly import Parts
from gateway.dialects import Dialect
from gateway.dialects.envelope import openai_error
from gateway.errors import BadRequest
from gateway.ids import new_id
from gateway.web.cookies import cookies, set_cookie
from gateway.web.error_reply import error_reply, told
from gateway.web.paths import CallPath
from gateway.web.seat import Seat
from gateway.wire.accepted import Accepted
from gateway.wire.request import Request

_VISIBLE = re.compile(r"[\x21-\x7e]{1,128}")


@define(eq=False)
class Exchange:
    """One request, what is known of it so far, and the connection that its reply goes to."""

    request: Request
    path: CallPath
    connection: Accepted
    parts: Parts
    """What the configuration decided when it came."""
    dialect: Dialect | None = None
    """The language that errors are told in, once it is known."""
    seat: Seat | None = None
    repeated: str | None = None
    """Set if the reply is that of an earlier call, which this one repeats."""
    id: str = field(init=False)
    """The client's X-Request-Id, or one of ours."""
    cookies: Mapping[str, str] = field(init=False)
    """The client's."""

    @id.default
    def _given_or_new(self) -> str:
        given = self.request.headers.get("X-Request-Id")
        return given if given is not None and is_call_id(given) else new_id()

    @cookies.default
    def _sent(self) -> Mapping[str, str]:
        return cookies(self.request.headers)

    def check_id(self) -> None:
        """Raises BadRequest for an X-Request-Id that cannot be passed on."""
        if self.request.headers.get("X-Request-Id", self.id) != self.id:
            raise BadRequest(WRONG_ID)

    def headers(self, content_type: str) -> bytes:
        """The lines of a reply's headers: its type, and what the gateway tells of the call."""
        told = {"Content-Type": content_type, "X-Request-Id": self.id}
        lines = [f"{name}: {value}\r\n" for name, value in (told | self._told()).items()]
        if self.seat is not None and self.seat.replica is not None:
            lines.append(set_cookie(self.parts.identities, self.cookies, self.seat))
        return "".join(lines).encode("utf-8", "surrogateescape")

    def _told(self) -> dict[str, str]:
        """Where the call has got to; what is ours wins over what a gateway behind us says."""
        seat = self.seat
        if seat is None:
            served = self.parts.catalog.models.values()
            return {k: v for one in served for k, v in one.pool.replicas.headers.items()}
        told = {**seat.served.pool.replicas.headers, **seat.headers}
        if self.repeated is not None:
            told["X-Gateway-Repeated"] = self.repeated
        told["X-Session-ID"] = seat.session.id
        if seat.replica is not None:
            told["X-Gateway-Replica"] = seat.replica
            told["X-Gateway-Attempts"] = str(seat.attempts)
        return told

    def fail(self, error: BaseException) -> None:
        """Answer with the error, in the envelope of the dialect, and never tell more than that."""
        known = told(error, self.id)
        envelope = openai_error if self.dialect is None else self.dialect.error
        more, body = error_reply(known, envelope)
        lines = "".join([f"{name}: {value}\r\n" for name, value in more.items()])
        headers = self.headers("application/json") + lines.encode()
        self.connection.send(known.status, headers, body)


WRONG_ID = "X-Request-Id must be 1 to 128 visible ASCII characters"


def is_call_id(given: str) -> bool:
    """Whether it can be passed on as it is."""
    return _VISIBLE.fullmatch(given) is not None
