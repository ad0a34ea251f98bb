"""Which models an address has."""

import pytest

from gateway.errors import UpstreamError
from gateway.tryout import models
from gateway.tryout.asking import NOT_OPENAI
from gateway.tryout.finding import Failed
from tests.fake_vllm import FakeVllm, Status
from tests.gateway.tryout.made_up import reached


def listed(*names: str) -> Status:
    return Status(200, {"object": "list", "data": [{"id": name} for name in names]})


async def test_the_only_model_is_taken(fake: FakeVllm) -> None:
    async with reached(fake.url) as server:
        assert await models.only(server) == "fake-model"


@pytest.mark.parametrize(("names", "told"), [(("a", "b/c"), "a, b/c"), ((), "none")])
async def test_of_several_or_none_nothing_can_be_taken(
    fake: FakeVllm, names: tuple[str, ...], told: str
) -> None:
    fake.pages["/v1/models"] = listed(*names)
    async with reached(fake.url) as server:
        with pytest.raises(Failed) as caught:
            await models.only(server)
    assert (caught.value.text, caught.value.advice) == (
        f"GET /v1/models lists {told}",
        "say which with --model NAME",
    )


@pytest.mark.parametrize("body", [{"models": []}, {"data": None}])
async def test_something_else_than_a_list_is_told(fake: FakeVllm, body: dict[str, object]) -> None:
    fake.pages["/v1/models"] = Status(200, body)
    async with reached(fake.url) as server:
        with pytest.raises(Failed) as caught:
            await models.only(server)
    expected = ("GET /v1/models lists no models", NOT_OPENAI)
    assert (caught.value.text, caught.value.advice) == expected


async def test_an_error_is_told_with_its_status(fake: FakeVllm) -> None:
    fake.api_key = "right"
    async with reached(fake.url) as server:
        with pytest.raises(UpstreamError) as caught:
            await models.only(server)
    assert (caught.value.status, caught.value.message) == (401, "401 Unauthorized")
