"""Which model an address serves, over real sockets."""

from collections.abc import AsyncIterator

import pytest

from gateway.client.models import names, only_one
from gateway.client.server import Server
from gateway.errors import GatewayError, NotFound
from gateway.upstream.connections import Upstream
from tests.fake_vllm import FakeVllm, Status

PATH = "/v1/models"


@pytest.fixture
async def server(fake: FakeVllm) -> AsyncIterator[Server]:
    async with Upstream(connect_timeout=1.0) as upstream:
        yield Server(fake.url, upstream)


def page(fake: FakeVllm, *ids: str) -> None:
    fake.pages[PATH] = Status(200, {"data": [{"id": id} for id in ids]})


async def test_the_names_are_told(fake: FakeVllm, server: Server) -> None:
    page(fake, "a", "org/b")
    assert await names(server) == ["a", "org/b"]


async def test_the_only_model_is_found(fake: FakeVllm, server: Server) -> None:
    assert await only_one(server) == "fake-model"


async def test_an_address_that_lists_none_has_none(fake: FakeVllm, server: Server) -> None:
    page(fake)
    assert await only_one(server) is None


async def test_of_several_one_must_be_named(fake: FakeVllm, server: Server) -> None:
    page(fake, "a", "b")
    with pytest.raises(NotFound) as raised:
        await only_one(server)
    assert raised.value.message == "there are several models, so --model must name one: a, b"


async def test_a_wrong_key_is_told(fake: FakeVllm, server: Server) -> None:
    fake.api_key = "key"
    with pytest.raises(GatewayError) as raised:
        await only_one(server)
    assert (raised.value.status, raised.value.message) == (401, "401 Unauthorized")


@pytest.mark.parametrize("body", ["OK", "[]", '{"data": [{}]}', '{"data": 3}', '{"data": ["a"]}'])
async def test_what_is_no_list_is_told(fake: FakeVllm, server: Server, body: str) -> None:
    fake.pages[PATH] = Status(200, body)
    with pytest.raises(GatewayError) as raised:
        await only_one(server)
    assert raised.value.message == "GET /v1/models lists no models"
