"""Who may do what."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from gateway.app import build
from gateway.config import Config, KeyFile, load, show
from gateway.errors import ConfigError, Forbidden, GatewayError, Unauthorized
from gateway.web.access import ADMIN, Access, Need, middlewares, need_of
from gateway.web.transport import call_id, errors
from tests.fake_vllm import FakeVllm
from tests.serving import serving

KEYS = {"team": "k3y", "other": "s3cret"}
BOTH: dict[str, Any] = {"api_keys": KEYS, "admin_key": "adm1n"}


def bearer(key: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {key}"}}


def access(**fields: Any) -> Access:
    return Access.of(Config({}, **fields))


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer k3y"},
        {"Authorization": "bearer  k3y "},
        {"x-api-key": "k3y"},
        {"Authorization": "Bearer sk-of-another-service", "x-api-key": "k3y"},
    ],
)
def test_a_key_is_known_in_either_header(headers: dict[str, str]) -> None:
    assert access(api_keys=KEYS).holders(headers) == {"api_keys.team"}


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic k3y"}, {"Cookie": "k3y"}])
def test_without_a_key_it_is_said_how_to_send_it(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized, match="no API key: send it as Authorization: Bearer KEY"):
        access(api_keys=KEYS).holders(headers)


@pytest.mark.parametrize("key", ["", "k3", "k3yy", "K3Y", "ü", "\udcff"])
def test_another_key_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(Unauthorized) as raised:
        access(**BOTH).holders({"Authorization": f"Bearer {key}"})
    assert raised.value.message == "the API key is not one of this gateway's"


def test_a_key_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("k3y\n")
    assert access(admin_key=KeyFile(str(file))).holders({"x-api-key": "k3y"}) == {ADMIN}


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    with pytest.raises(ConfigError) as raised:
        access(
            api_keys={
                "a": "k",
                "b": " k ",
                "c": " ",
                "d": KeyFile(str(tmp_path / "none")),
                "e": KeyFile(str(binary)),
            },
            admin_key=KeyFile(str(tmp_path / "gone")),
        )
    assert raised.value.faults == [
        "the same key as api_keys.a @ api_keys.b",
        "the key is empty @ api_keys.c",
        f"{tmp_path}/none cannot be read: No such file or directory @ api_keys.d.file",
        f"{binary} cannot be read: it is not text @ api_keys.e.file",
        f"{tmp_path}/gone cannot be read: No such file or directory @ admin_key.file",
    ]


def test_the_admin_key_is_no_key_of_a_client() -> None:
    with pytest.raises(ConfigError) as raised:
        access(api_keys=KEYS, admin_key="k3y")
    assert raised.value.faults == ["the same key as api_keys.team @ admin_key"]


def test_faults_of_keys_come_with_those_of_models() -> None:
    config = load([], ["++models.a.launcher=simulatet", "++api_keys={team: ' '}"])
    with pytest.raises(ConfigError) as raised:
        build(config)
    assert "the key is empty @ api_keys.team" in raised.value.faults
    assert len(raised.value.faults) == 2


@pytest.mark.parametrize("value", ["[k3y]", "{team: [k3y]}", "{team: {path: k3y}}", "{team: 3}"])
def test_keys_of_another_shape_are_faults_that_do_not_repeat_them(value: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load([], ["++models.a.launcher=simulated", f"++api_keys={value}"])
    assert all(" @ api_keys" in fault and "k3y" not in fault for fault in raised.value.faults)


@pytest.mark.parametrize("value", ["[adm1n]", "{path: adm1n}", "{file: [adm1n]}"])
def test_an_admin_key_of_another_shape_is_a_fault_that_does_not_repeat_it(value: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load([], ["++models.a.launcher=simulated", f"++admin_key={value}"])
    assert all("admin_key" in fault and "adm1n" not in fault for fault in raised.value.faults)


def test_no_key_is_shown() -> None:
    keys = ["++api_keys={team: k3y}", "++admin_key=adm1n"]
    config = load([], ["++models.a.launcher=simulated", *keys])
    for shown in (show(config), repr(config), repr(Access.of(config))):
        assert "k3y" not in shown
        assert "adm1n" not in shown
    assert "team: '***'" in show(config)
    assert "admin_key: '***'" in show(config)


NEEDS: dict[Need, list[str]] = {
    "probe": ["/", "/health", "/ready"],
    "call": ["/{prefix}v1/models", "/{prefix}v1/models/{id}"],
    "status": ["/metrics", "/sessions", "/sessions/{session}", "/sessions/{id}"],
    "admin": [
        "/admin/replicas",
        "/admin/replicas/{name}",
        "/admin/drain/{name}",
        "/admin/v1/models",
        "/{prefix}v1/models/{id}/admin",
        "/{anything}",
        "/debug",
        "/health/{replica}",
        "/sessions/{session}/admin/v1",
        "/metrics/",
        "/models/{model}",
    ],
}
ROUTES = [(route, need) for need, routes in NEEDS.items() for route in routes]


@pytest.mark.parametrize(("route", "need"), ROUTES)
def test_each_route_has_its_need(route: str, need: Need) -> None:
    assert need_of(route) == need


@given(st.text(st.characters(exclude_characters="{}"), min_size=1))
def test_a_route_that_nobody_thought_of_is_for_the_admin(name: str) -> None:
    assert need_of(f"/new/{name}/v1/chat/completions") == "admin"


def test_every_route_of_the_gateway_has_been_thought_of() -> None:
    app = build(Config(load([], ["++models.a.launcher=simulated"]).models))
    routes = {resource.canonical for resource in app.router.resources()}
    forgotten = {route for route in routes if need_of(route) == "admin"}
    assert {route for route in forgotten if not route.startswith("/admin/")} == set()


PASSES = "passes"
NO_KEY: dict[str, str] = {}
ANOTHER = {"x-api-key": "wr0ng"}
CLIENTS = {"x-api-key": "k3y"}
ADMINS = {"x-api-key": "adm1n"}
UNKNOWN, NOT_THIS, CLOSED = (
    "401 invalid_api_key",
    "403 admin_key_required",
    "403 admin_disabled",
)


def outcome(access: Access, need: Need, headers: Mapping[str, str]) -> str:
    try:
        access.check(need, headers)
    except GatewayError as error:
        return f"{error.status} {error.code}"
    return PASSES


def outcomes(need: Need, **fields: Any) -> list[str]:
    """Without a key, with a wrong one, with a client's and with the admin's."""
    made = access(**fields)
    return [outcome(made, need, headers) for headers in (NO_KEY, ANOTHER, CLIENTS, ADMINS)]


ANYBODY = [PASSES, PASSES, PASSES, PASSES]
WITH_A_KEY = [UNKNOWN, UNKNOWN, PASSES, PASSES]
CLIENTS_ONLY = [UNKNOWN, UNKNOWN, PASSES, UNKNOWN]
ADMIN_ONLY = [UNKNOWN, UNKNOWN, NOT_THIS, PASSES]
ADMIN_ALONE = [UNKNOWN, UNKNOWN, UNKNOWN, PASSES]
NOBODY = [CLOSED, CLOSED, CLOSED, CLOSED]


@pytest.mark.parametrize(
    ("need", "expected"),
    [("probe", ANYBODY), ("call", WITH_A_KEY), ("status", ADMIN_ONLY), ("admin", ADMIN_ONLY)],
)
def test_with_both_kinds_of_keys(need: Need, expected: list[str]) -> None:
    assert outcomes(need, **BOTH) == expected


@pytest.mark.parametrize(
    ("need", "expected"),
    [("probe", ANYBODY), ("call", ANYBODY), ("status", ANYBODY), ("admin", NOBODY)],
)
def test_without_any_key(need: Need, expected: list[str]) -> None:
    assert outcomes(need) == expected


@pytest.mark.parametrize(
    ("need", "expected"),
    [("probe", ANYBODY), ("call", CLIENTS_ONLY), ("status", CLIENTS_ONLY), ("admin", NOBODY)],
)
def test_without_an_admin_key(need: Need, expected: list[str]) -> None:
    assert outcomes(need, api_keys=KEYS) == expected


@pytest.mark.parametrize(
    ("need", "expected"),
    [("probe", ANYBODY), ("call", ANYBODY), ("status", ADMIN_ALONE), ("admin", ADMIN_ALONE)],
)
def test_with_an_admin_key_alone(need: Need, expected: list[str]) -> None:
    assert outcomes(need, admin_key="adm1n") == expected


def test_a_probe_may_need_a_key() -> None:
    assert outcomes("probe", **BOTH, health_needs_key=True) == WITH_A_KEY


def test_the_admin_key_counts_beside_a_clients() -> None:
    headers = {"Authorization": "Bearer k3y", "x-api-key": "adm1n"}
    assert outcome(access(**BOTH), "admin", headers) == PASSES


@given(st.sampled_from(get_args(Need)), st.text())
def test_no_other_key_opens_what_is_closed(need: Need, key: str) -> None:
    both = access(api_keys=KEYS, admin_key="adm1n", health_needs_key=True)
    known = key.strip() in {"adm1n", *KEYS.values()}
    assert known or outcome(both, need, {"x-api-key": key}) == UNKNOWN


def test_it_is_said_what_opens_the_admin_endpoints() -> None:
    with pytest.raises(Forbidden) as closed:
        access().check("admin", NO_KEY)
    with pytest.raises(Forbidden) as required:
        access(**BOTH).check("admin", CLIENTS)
    assert closed.value.message == "closed: no admin_key is set in the gateway's configuration"
    assert required.value.message == "only the admin key opens this"


async def name(request: web.Request) -> web.Response:
    resource = request.match_info.route.resource
    assert resource is not None
    return web.Response(text=resource.canonical)


@asynccontextmanager
async def guarded(access: list[Access]) -> AsyncIterator[int]:
    """The port of a server with routes of each need, behind the last of these."""
    app = web.Application(middlewares=[call_id, errors, *middlewares(lambda: access[-1])])
    app.add_routes(
        web.route("*", path, name)
        for path in (
            "/health",
            "/metrics",
            "/sessions",
            "/sessions/{session}",
            "/sessions/{session}/v1/models/{id:.+}",
            "/models/{model:.+}/v1/models/{id:.+}",
            "/admin/replicas",
            "/admin/replicas/{name:.+}",
        )
    )
    async with TestServer(app) as server:
        assert server.port is not None
        yield server.port


async def ask(port: int, target: str, key: str | None = None) -> tuple[int, bytes]:
    """The status and the body of a reply; the target goes out as it stands."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    header = "" if key is None else f"Authorization: Bearer {key}\r\n"
    writer.write(f"GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{header}\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split()[1]), body


DISGUISED = [
    "/admin/replicas",
    "/admin/replicas/a:1",
    "/admin/replicas/",
    "/admin/replicas?x=/v1/models",
    "/admin/replicas#/health",
    "//admin/replicas",
    "/admin//replicas",
    "/admin%2freplicas",
    "/%61dmin/replicas",
    "/%2561dmin/replicas",
    "/ADMIN/replicas",
    "/./admin/replicas",
    "/health/../admin/replicas",
    "/sessions/a/../../admin/replicas",
    "/sessions/a/v1/models/../../../../admin/replicas",
    "/admin/replicas/../../health",
    "/admin/replicas;/v1/models",
    "/metrics",
    "/metrics/",
    "/%6detrics",
    "//metrics",
    "/sessions",
    "/sessions/a",
    "/sessions/a%2f..%2f..",
    "/sessions/a%2fv1%2fmodels%2fx",
    "/sessions/v1",
    "http://h/admin/replicas",
    "http://h//metrics",
]


async def reached(access: Access, target: str, key: str | None = None) -> str | None:
    """The route that answers, or None if the request is refused."""
    async with guarded([access]) as port:
        status, body = await ask(port, target, key)
    return body.decode() if status == 200 else None


@pytest.mark.parametrize("target", DISGUISED)
async def test_no_spelling_of_a_path_lets_a_client_in_where_the_admin_goes(target: str) -> None:
    found = await reached(access(**BOTH), target, "k3y")
    assert found is None or need_of(found) in {"call", "probe"}


@pytest.mark.parametrize("target", DISGUISED)
async def test_no_spelling_of_a_path_lets_a_stranger_in(target: str) -> None:
    found = await reached(access(**BOTH), target)
    assert found is None or need_of(found) == "probe"


@pytest.mark.parametrize("target", DISGUISED)
async def test_no_spelling_of_a_path_opens_what_is_closed_for_want_of_a_key(target: str) -> None:
    found = await reached(access(), target)
    assert found is None or need_of(found) != "admin"


@pytest.mark.parametrize("target", ["/admin/replicas", "/admin/replicas/a:1", "/metrics"])
async def test_the_admin_gets_everywhere(target: str) -> None:
    assert await reached(access(**BOTH), target, "adm1n") is not None


async def test_the_keys_of_the_moment_count() -> None:
    keys = [access(**BOTH)]
    async with guarded(keys) as port:
        before = (await ask(port, "/admin/replicas", "adm1n"))[0]
        keys.append(access(api_keys=KEYS, admin_key="n3w"))
        after = [(await ask(port, "/admin/replicas", key))[0] for key in ("adm1n", "n3w")]
    assert (before, after) == (200, [401, 200])


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (
            "wr0ng",
            b'"message":"the API key is not one of this gateway\'s",'
            b'"type":"authentication_error","param":null,"code":"invalid_api_key"',
        ),
        (
            "k3y",
            b'"message":"only the admin key opens this",'
            b'"type":"permission_error","param":null,"code":"admin_key_required"',
        ),
    ],
)
async def test_a_refusal_tells_nothing_of_keys(
    key: str, error: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with guarded([access(**BOTH)]) as port:
        _, body = await ask(port, "/admin/replicas", key)
    assert body == b'{"error":{' + error + b"}}"
    assert [secret for secret in ("adm1n", "wr0ng", *KEYS.values()) if secret in caplog.text] == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/sessions/s/v1/responses", "/nope"])
async def test_a_call_without_a_key_is_refused_in_the_envelope(path: str, fake: FakeVllm) -> None:
    async with serving(fake, api_keys=KEYS) as client:
        answer = await client.post(path=path)
        assert fake.requests == []
    assert answer.status == 401
    assert answer.error["type"] == "authentication_error"
    assert answer.error["code"] == "invalid_api_key"
    assert answer.headers["X-Request-Id"]
    assert "X-Session-ID" not in answer.headers


async def test_a_call_with_a_key_passes_and_the_key_goes_no_further(fake: FakeVllm) -> None:
    async with serving(fake, api_keys=KEYS, api_key="upstream") as client:
        answer = await client.post(**bearer("s3cret"))
    assert answer.status == 200
    assert fake.requests[-1].headers["Authorization"] == "Bearer upstream"
    assert "s3cret" not in str(fake.requests[-1].headers)


async def test_probes_need_no_key_unless_they_are_to(fake: FakeVllm) -> None:
    async with serving(fake, api_keys=KEYS) as client:
        open_ = [(await client.get(path)).status for path in ("/", "/health", "/ready")]
        assert (await client.get("/v1/models")).status == 401
    async with serving(fake, api_keys=KEYS, health_needs_key=True) as client:
        closed = [(await client.get(path)).status for path in ("/", "/health", "/ready")]
        known = (await client.get("/health", **bearer("k3y"))).status
    assert (open_, closed, known) == ([200] * 3, [401] * 3, 200)


async def test_without_keys_a_call_may_carry_any(fake: FakeVllm) -> None:
    async with serving(fake) as client:
        assert (await client.post(**bearer("dummy"))).status == 200
