"""The paths of calls."""

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.access import need_of
from gateway.web.endpoints import PREFIXES
from gateway.web.paths import CallPath, call_path

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


@pytest.mark.parametrize(("path", "endpoint"), ENDPOINTS.items())
@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_endpoint_is_below_every_prefix(prefix: str, path: str, endpoint: str) -> None:
    whole = prefix.replace("{session}", "s").replace("{model:.+}", "m") + path
    session = "s" if "{session}" in prefix else None
    model = "m" if "{model" in prefix else None
    assert call_path(whole.encode()) == CallPath(endpoint, whole, session, model)


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_one_is_for_clients(prefix: str, path: str) -> None:
    assert need_of(re.sub(r":[^}]*", "", prefix) + path) == "call"


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
