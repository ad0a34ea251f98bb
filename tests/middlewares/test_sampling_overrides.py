"""Fields that win over whatever a call says; numbers are those of the behaviour checklist."""

import pytest

from gateway.errors import ConfigError
from gateway.pipeline import plugin
from gateway.plugins import MIDDLEWARES
from middlewares.sampling_overrides import SamplingOverrides
from tests.calls import call, sent
from tests.fake_vllm import FakeVllm
from tests.serving import HELLO, serving


async def test_an_override_wins_over_the_request() -> None:
    """24."""
    body = await sent(SamplingOverrides({"temperature": 1.0}), call(temperature=0.2, top_k=3))
    assert (body["temperature"], body["top_k"]) == (1.0, 3)


async def test_an_override_is_there_for_a_request_that_says_nothing() -> None:
    """24."""
    assert (await sent(SamplingOverrides({"top_p": 1.0}), call()))["top_p"] == 1.0


async def test_a_null_takes_the_field_out_of_the_call() -> None:
    assert "top_k" not in await sent(SamplingOverrides({"top_k": None}), call(top_k=3))


async def test_an_override_wins_over_extra_body_of_both_kinds(fake: FakeVllm) -> None:
    """24."""
    extra, overrides = {"temperature": 0.3}, {"temperature": 1.0}
    request = {**HELLO, "metadata": {"extra_body": '{"temperature": 0.5}'}}
    async with serving(fake, extra_body=extra, sampling_overrides=overrides) as client:
        await client.post(request)
    assert fake.requests[-1].body["temperature"] == 1.0


async def test_tokenize_is_not_told_of_overrides(fake: FakeVllm) -> None:
    """24."""
    async with serving(fake, sampling_overrides={"temperature": 1.0}) as client:
        await client.post(HELLO, "/tokenize")
    assert "temperature" not in fake.requests[-1].body


def test_a_value_that_a_request_would_be_refused_for_is_a_fault() -> None:
    with pytest.raises(ConfigError) as caught:
        plugin(MIDDLEWARES, "sampling_overrides", {"fields": {"n": "two"}}, "m")
    fault = "n must be an integer, not a string @ m.sampling_overrides.fields"
    assert caught.value.faults == [fault]
