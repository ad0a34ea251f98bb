"""The paths of calls."""

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.paths import PREFIX, CallPath, call_path

CHAT = "/v1/chat/completions"
ENDPOINTS = {
    "/v1/chat/completions": "chat/completions",
    "/v1/responses": "responses",
    "/v1/completions": "completions",
    "/tokenize": "tokenize",
    "/v1/tokenize": "tokenize",
    "/detokenize": "detokenize",
    "/v1/detokenize": "detokenize",
}


PREFIXES = {
    "": (None, None),
    "sessions/s/": ("s", None),
    "ng-rollout/s/": ("s", None),
    "models/m/": (None, "m"),
    "models/org/m/": (None, "org/m"),
    "sessions/s/models/m/": ("s", "m"),
    "ng-rollout/s/models/m/": ("s", "m"),
}


@pytest.mark.parametrize(("path", "endpoint"), ENDPOINTS.items())
@pytest.mark.parametrize(("prefix", "fixed"), PREFIXES.items())
def test_every_endpoint_is_below_every_prefix(
    prefix: str, fixed: tuple[str | None, str | None], path: str, endpoint: str
) -> None:
    whole = f"/{prefix}{path.removeprefix('/')}"
    assert call_path(whole.encode()) == CallPath(endpoint, whole, *fixed)


@pytest.mark.parametrize(("prefix", "fixed"), PREFIXES.items())
def test_what_may_stand_before_a_path_is_said_once(
    prefix: str, fixed: tuple[str | None, str | None]
) -> None:
    found = re.fullmatch(PREFIX, prefix)
    assert found is not None
    assert found.groups() == fixed


@pytest.mark.parametrize("prefix", ["sessions/", "sessions/s", "models/", "models/m/sessions/s"])
def test_nothing_else_may(prefix: str) -> None:
    assert re.fullmatch(PREFIX, prefix) is None


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_sessions_and_models_are_as_they_were_before_they_were_quoted(
    session: str, model: str
) -> None:
    target = f"/sessions/{quote(session, safe='')}/models/{quote(model)}{CHAT}"
    found = call_path(target.encode())
    assert found is not None
    assert (found.session, found.model) == (session, model)


@pytest.mark.parametrize(
    "target",
    [f"{CHAT}?api-version=1", f"http://h{CHAT}", f"http://h:1{CHAT}?a", "/v1/%63hat/completions"],
)
def test_a_path_may_be_spelled_in_another_way(target: str) -> None:
    found = call_path(target.encode())
    assert found is not None
    assert found.endpoint == "chat/completions"


@given(st.binary(max_size=30))
def test_any_other_target_is_no_call(target: bytes) -> None:
    assert call_path(b"/x" + target) is None


@pytest.mark.parametrize(
    "target",
    [
        *("", "*", "/", "//", "/v1", "/v1/models", f"/{CHAT}", f"{CHAT}/", f"/x{CHAT}"),
        *("/admin/replicas", "/chat/completions", "/v1//chat/completions", f"/models/{CHAT}"),
        *(f"/sessions/{CHAT}", f"/sessions/a/b{CHAT}", f"/ng-rollout{CHAT}", "http://["),
        *("/V1/chat/completions", f"/sessions/a/admin/replicas?{CHAT}", "h:1"),
    ],
)
def test_what_only_looks_like_a_call_is_none(target: str) -> None:
    assert call_path(target.encode()) is None
