"""The cookie that keeps a client on its replica."""

from collections.abc import Mapping

import pytest

from gateway import config
from gateway.core import Session
from gateway.routing.admitted import Admitted
from gateway.sessions import Identities
from gateway.web.cookies import cookies, set_cookie
from tests.gateway.web.seated import seat

IDENTITIES = Identities.of(config.Sessions(secret="s3cret"))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("a=1", {"a": "1"}),
        ("a=1; b=2;c=3", {"a": "1", "b": "2", "c": "3"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=1; a=2", {"a": "2"}),
        ("", {"": ""}),
        ("a", {"a": ""}),
    ],
)
def test_cookies_are_read_as_they_are_sent(told: str, expected: Mapping[str, str]) -> None:
    assert cookies({"Cookie": told}) == expected


def test_without_a_header_there_are_none() -> None:
    assert cookies({}) == {}


def test_a_client_is_told_its_session() -> None:
    value = IDENTITIES.write(Session("s", "header"))
    assert set_cookie(IDENTITIES, {}, seat("s")) == (
        f"Set-Cookie: gym_gateway={value}; HttpOnly; Path=/; SameSite=Lax\r\n"
    )


def test_what_a_client_says_itself_is_not_told_again() -> None:
    value = IDENTITIES.write(Session("s", "header"))
    assert set_cookie(IDENTITIES, cookies({"Cookie": f"a=1; gym_gateway={value}"}), seat("s")) == ""


def test_replicas_of_other_models_stay_in_it() -> None:
    made = seat("s")
    made.session = Session("s", "cookie", {"other": "r"})
    value = set_cookie(IDENTITIES, {}, made).split("gym_gateway=")[1].split(";")[0]
    known = IDENTITIES.read(value)
    assert known is not None
    assert known.pins == {"other": "r"}


def test_a_cookie_that_says_where_the_session_is_is_not_told_again() -> None:
    made = seat("s")
    made.session = Session("s", "cookie", {made.served.pool.replicas.name: "r"})
    made.admitted = Admitted(made.session, "r", "r")
    told = cookies({"Cookie": f"gym_gateway={IDENTITIES.write(made.session)}"})
    assert set_cookie(IDENTITIES, told, made) == ""


def test_a_session_that_has_moved_is_told_where_it_is() -> None:
    made = seat("s")
    name = made.served.pool.replicas.name
    made.session = Session("s", "cookie", {name: "gone"})
    made.admitted = Admitted(made.session, "r", "r")
    told = cookies({"Cookie": f"gym_gateway={IDENTITIES.write(made.session)}"})
    value = IDENTITIES.write(Session("s", "cookie", {name: "r"}))
    assert set_cookie(IDENTITIES, told, made).startswith(f"Set-Cookie: gym_gateway={value};")
