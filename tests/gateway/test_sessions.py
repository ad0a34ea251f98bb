"""Whose conversation a request belongs to."""

import hashlib

import pytest
from itsdangerous import Signer

from gateway import config
from gateway.core import Json, Session
from gateway.errors import BadRequest
from gateway.sessions import Identities

HEADERS = {"X-Session-ID": "by-header"}
BODY = {"prompt_cache_key": "by-key"}


@pytest.fixture
def identities() -> Identities:
    return Identities.of(config.Sessions(secret="s"))


def test_the_path_comes_first_then_header_cookie_and_cache_key(identities: Identities) -> None:
    cookies = {"gym_gateway": identities.write(Session("by-cookie"))}

    def found(
        path: str | None, headers: dict[str, str], cookies: dict[str, str], body: Json
    ) -> str:
        session = identities.identify(path, headers, cookies, body)
        return f"{session.id} {session.source}"

    assert found("by-path", HEADERS, cookies, BODY) == "by-path path"
    assert found(None, HEADERS, cookies, BODY) == "by-header header"
    assert found(None, {}, cookies, BODY) == "by-cookie cookie"
    assert found(None, {}, {}, BODY) == "by-key prompt_cache_key"
    assert found(None, {}, {}, {}).endswith(" new")


def test_new_sessions_have_ids_of_their_own(identities: Identities) -> None:
    ids = {identities.identify(None, {}, {}, {}).id for _ in range(100)}
    assert len(ids) == 100


def test_the_cookies_replicas_count_only_for_its_own_session(identities: Identities) -> None:
    cookies = {"gym_gateway": identities.write(Session("a", pins={"policy": "r2"}))}
    assert identities.identify(None, {}, cookies, {}).pins == {"policy": "r2"}
    assert identities.identify("a", {}, cookies, {}).pins == {"policy": "r2"}
    assert identities.identify("b", {}, cookies, {}).pins == {}


def test_gateways_that_share_the_secret_honour_each_others_cookies(identities: Identities) -> None:
    other = Identities.of(config.Sessions(secret="s"))
    assert other.read(identities.write(Session("a", pins={"m": "r"}))) == Session(
        "a", "cookie", {"m": "r"}
    )


@pytest.mark.parametrize(
    "forge", [lambda c: c[:-1] + "A", lambda c: "x" + c, lambda c: "", str.upper]
)
def test_a_forged_cookie_is_a_new_session(identities: Identities, forge: object) -> None:
    cookie = forge(identities.write(Session("a")))  # type: ignore[operator]
    assert identities.identify(None, {}, {"gym_gateway": cookie}, {}).source == "new"


def test_without_a_configured_secret_each_gateway_has_its_own() -> None:
    one, two = (Identities.of(config.Sessions()) for _ in range(2))
    assert two.read(one.write(Session("a"))) is None


def test_after_a_change_of_configuration_the_old_cookies_count() -> None:
    old = Identities.of(config.Sessions())
    new = Identities.of(config.Sessions(headers=("X-Other",)), old)
    assert new.read(old.write(Session("a"))) == Session("a", "cookie")
    assert new.headers == ("X-Other",)


def test_a_new_secret_ends_the_old_cookies() -> None:
    old = Identities.of(config.Sessions())
    assert Identities.of(config.Sessions(secret="s"), old).read(old.write(Session("a"))) is None


@pytest.mark.parametrize("value", ["", "a b", "ü", "a" * 257, "a\tb"])
def test_an_id_that_could_not_stand_in_a_header_is_refused(
    identities: Identities, value: str
) -> None:
    with pytest.raises(BadRequest, match="X-Session-ID must be 1 to 256 visible ASCII") as caught:
        identities.identify(None, {"X-Session-ID": value}, {}, {})
    assert caught.value.param == "X-Session-ID"
    with pytest.raises(BadRequest, match="the session id in the path must be"):
        identities.identify(value, {}, {}, {})


def test_a_cache_key_of_any_text_gives_an_id_that_can(identities: Identities) -> None:
    first, again = (
        identities.identify(None, {}, {}, {"prompt_cache_key": "käy of any length " * 99}).id
        for _ in range(2)
    )
    assert first == again
    assert len(first) == 64


def test_the_secret_is_not_in_the_repr(identities: Identities) -> None:
    assert "secret" not in repr(config.Sessions(secret="hush"))
    assert "hush" not in repr(config.Sessions(secret="hush"))


def test_the_signature_is_the_librarys_own_for_this_secret_and_salt(
    identities: Identities,
) -> None:
    signer = Signer("s", salt="gym-gateway.session", digest_method=hashlib.sha256)
    assert signer.validate(identities.write(Session("one")))
