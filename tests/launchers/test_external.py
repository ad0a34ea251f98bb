"""Replicas that somebody else runs."""

import logging
from pathlib import Path

import pytest

from gateway.core import Json, Replica
from gateway.errors import ConfigError
from gateway.pipeline import plugin
from gateway.plugins import LAUNCHERS
from launchers.external import External

QUICK = 0.001


async def names(external: External) -> list[str]:
    """The names in the first set."""
    async with external.launch() as sets:
        return [replica.name for replica in await anext(sets)]


async def test_fixed_urls_are_given_once() -> None:
    headers = {"Authorization": "Bearer key"}
    external = External(base_url=("http://one:8000", "http://two:8000"), headers=headers)
    async with external.launch() as sets:
        assert [replicas async for replicas in sets] == [
            (
                Replica("one:8000", "http://one:8000", headers),
                Replica("two:8000", "http://two:8000", headers),
            )
        ]


def test_the_key_is_not_shown() -> None:
    assert "secret" not in repr(External(headers={"Authorization": "Bearer secret"}))


def test_a_url_with_a_user_is_not_shown() -> None:
    assert "secret" not in repr(External(base_url=("http://me:secret@one:8000",)))


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (
            {"base_url": ["http://one", "http://two..three"]},
            "not the http(s) URL of a server: number 1 @ launcher.external.base_url",
        ),
        (
            {"headers": {"Authorization": "hush\n"}},
            "the value of 'Authorization' cannot stand in a header @ launcher.external.headers",
        ),
        (
            {"headers": {"Authorization": "hush"}, "base_url": ["http://me:hush@one"]},
            "a user in the URL, and an api_key: only one of them can be sent @ launcher.external",
        ),
    ],
)
def test_what_cannot_be_sent_is_a_fault_at_start(options: Json, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plugin(LAUNCHERS, "external", options, "launcher")
    assert caught.value.faults == [fault]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://gpu-node-1:8000", "gpu-node-1:8000"),
        ("http://gpu-node-1", "gpu-node-1:80"),
        ("https://gpu-node-1", "gpu-node-1:443"),
        ("http://GPU-node-1:8000", "gpu-node-1:8000"),
        ("http://me:secret@gpu-node-1:8000", "gpu-node-1:8000"),
        ("http://[::1]:8000", "::1:8000"),
        ("http://gpu-node-1:8000/a/b", "gpu-node-1:8000%2Fa%2Fb"),
    ],
)
async def test_a_name_tells_host_and_port_and_a_path_if_there_is_one(url: str, name: str) -> None:
    assert await names(External(base_url=(url,))) == [name]


async def test_a_url_that_is_given_twice_is_kept_once_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await names(External(base_url=("http://one:8000",) * 2)) == ["one:8000"]
    assert caplog.record_tuples == [
        ("launchers.external", logging.WARNING, "the replica one:8000 is listed more than once")
    ]


async def test_a_file_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "endpoints"
    file.write_text("http://one:8000/v1\n")
    external = External(endpoint_file=str(file), endpoint_check_interval_s=QUICK)
    async with external.launch() as sets:
        before = await anext(sets)
        file.write_text("http://two:8000/v1\n")
        after = await anext(sets)
    assert [before, after] == [
        (Replica("one:8000", "http://one:8000"),),
        (Replica("two:8000", "http://two:8000"),),
    ]


async def test_fixed_urls_do_not_count_beside_a_file(tmp_path: Path) -> None:
    file = tmp_path / "endpoints"
    file.write_text("http://one:8000")
    external = External(base_url=("http://fixed:8000",), endpoint_file=str(file))
    assert await names(external) == ["one:8000"]


async def test_the_headers_are_sent_to_replicas_of_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "endpoints"
    file.write_text("http://one:8000")
    external = External(headers={"Authorization": "Bearer key"}, endpoint_file=str(file))
    async with external.launch() as sets:
        (replica,) = await anext(sets)
    assert replica.headers == {"Authorization": "Bearer key"}


async def test_a_line_with_a_user_is_skipped_beside_a_key(tmp_path: Path) -> None:
    file = tmp_path / "endpoints"
    file.write_text("http://one:8000\nhttp://me:secret@two:8000\n")
    headers = {"Authorization": "Bearer key"}
    assert await names(External(headers=headers, endpoint_file=str(file))) == ["one:8000"]


async def test_lines_for_other_models_do_not_count(tmp_path: Path) -> None:
    file = tmp_path / "endpoints"
    file.write_text("http://one:1 model=policy\nhttp://two:2 model=judge\nhttp://three:3\n")
    external = External(endpoint_file=str(file), model="policy")
    assert await names(external) == ["one:1", "three:3"]


async def test_a_line_may_carry_the_name_and_the_key_of_a_replica(tmp_path: Path) -> None:
    file = tmp_path / "endpoints"
    file.write_text("http://one:1 name=policy-0 key=theirs\nhttp://two:2\n")
    external = External(headers={"authorization": "Bearer ours", "A": "b"}, endpoint_file=str(file))
    async with external.launch() as sets:
        own, other = await anext(sets)
    assert (own.name, own.headers) == ("policy-0", {"A": "b", "Authorization": "Bearer theirs"})
    assert other.headers == {"authorization": "Bearer ours", "A": "b"}
