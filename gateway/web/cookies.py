"""The cookie that keeps a client on its replica, in and out of headers."""

from collections.abc import Mapping

from gateway.core import Session
from gateway.sessions import Identities
from gateway.web.seat import Seat


def cookies(headers: Mapping[str, str]) -> Mapping[str, str]:
    """The cookies of a request (RFC 6265 4.2); of those with one name the last."""
    told = headers.get("Cookie")
    if told is None:
        return {}
    pairs = (pair.partition("=") for pair in told.split(";"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def set_cookie(identities: Identities, given: Mapping[str, str], seat: Seat) -> str:
    """The line of a reply that tells it; empty if one of the given cookies says the same."""
    session, name, home = seat.session, seat.served.pool.replicas.name, seat.home
    if identities.cookie in given and home is not None and session.pins.get(name) == home:
        return ""  # the pins are those that the cookie says
    pins = {**session.pins, **({name: home} if home else {})}
    told = identities.write(Session(session.id, session.source, pins))
    if given.get(identities.cookie) == told:
        return ""
    return f"Set-Cookie: {identities.cookie}={told}; HttpOnly; Path=/; SameSite=Lax\r\n"
