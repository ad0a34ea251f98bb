"""Who may call."""

from pathlib import Path
from typing import Any

import pytest

from gateway.access import Access
from gateway.app import build
from gateway.config import Config, KeyFile, load, show
from gateway.errors import ConfigError, Unauthorized
from tests.fake_vllm import FakeVllm
from tests.serving import serving

KEYS = {"team": "k3y", "other": "s3cret"}


def bearer(key: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {key}"}}


def access(**keys: str | KeyFile) -> Access:
    return Access.of(Config({}, api_keys=keys))


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
    assert access(**KEYS).holder(headers) == "team"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic k3y"}, {"Cookie": "k3y"}])
def test_without_a_key_it_is_said_how_to_send_it(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized, match="no API key: send it as Authorization: Bearer KEY"):
        access(**KEYS).holder(headers)


@pytest.mark.parametrize("key", ["", "k3", "k3yy", "K3Y", "ü", "\udcff"])
def test_another_key_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(Unauthorized) as raised:
        access(**KEYS).holder({"Authorization": f"Bearer {key}"})
    assert raised.value.message == "the API key is not one of this gateway's"


def test_a_key_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("k3y\n")
    assert access(team=KeyFile(str(file))).holder({"x-api-key": "k3y"}) == "team"


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    with pytest.raises(ConfigError) as raised:
        access(
            a="k",
            b=" k ",
            c=" ",
            d=KeyFile(str(tmp_path / "none")),
            e=KeyFile(str(binary)),
        )
    assert raised.value.faults == [
        "the same key as 'a' @ api_keys.b",
        "the key is empty @ api_keys.c",
        f"{tmp_path}/none cannot be read: No such file or directory @ api_keys.d.file",
        f"{binary} cannot be read: it is not text @ api_keys.e.file",
    ]


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


def test_no_key_is_shown() -> None:
    config = load([], ["++models.a.launcher=simulated", "++api_keys={team: k3y}"])
    for shown in (show(config), repr(config), repr(Access.of(config))):
        assert "k3y" not in shown
    assert "team: '***'" in show(config)


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
