"""The state of a simulated replica."""

import asyncio
from contextlib import aclosing

import pytest

from gateway.errors import NotFound
from launchers.simulation.engine import Engine, Pace, Step


def engine(tokens_per_second: float | None = None) -> Engine:
    return Engine("simulated", 100, False, Pace(tokens_per_second))


def test_tokens_are_due_one_after_the_other() -> None:
    pace = Pace(tokens_per_second=10, time_to_first_token=2)
    assert [pace.due(made) for made in (0, 1, 2, 11)] == [2, 2, 2.1, 3]


def test_without_a_speed_all_tokens_are_due_with_the_first() -> None:
    assert Pace(time_to_first_token=2).due(100) == 2


async def test_steps_come_no_earlier_than_they_are_due() -> None:
    start = asyncio.get_running_loop().time()
    async with aclosing(engine(1000).play([Step(11, 11, {})])) as chunks:
        await anext(chunks)
    assert asyncio.get_running_loop().time() - start >= 0.01


async def test_a_call_runs_until_it_is_closed() -> None:
    running = engine()
    async with aclosing(running.play([Step(1, 1, {}), Step(2, 1, {})])) as chunks:
        await anext(chunks)
        assert running.running == 1
    assert running.running == 0


async def test_only_tokens_that_were_made_are_counted() -> None:
    counting = engine()
    async with aclosing(counting.play([Step(1, 1, {}), Step(2, 1, {})])) as chunks:
        await anext(chunks)
    assert counting.generation_tokens == 1


def test_a_prompt_is_cached_once_it_was_taken_in() -> None:
    taking, prompt = engine(), list(range(40))
    assert [taking.prefill(prompt, None) for _ in range(2)] == [(0, 32), (32, 0)]


def test_metrics_name_the_model_and_count_tokens() -> None:
    counting = engine()
    counting.prefill(list(range(40)), None)
    assert (
        'vllm:prefix_cache_queries_total{engine="0",model_name="simulated"} 40.0\n'
        in counting.metrics()
    )


def test_quotes_in_the_name_of_a_model_are_escaped() -> None:
    odd = Engine('a"b\\c', 1, False, Pace())
    assert r'model_name="a\"b\\c"' in odd.metrics()


@pytest.mark.parametrize("body", [{}, {"model": None}, {"model": "simulated"}])
def test_the_model_may_be_named_or_not(body: dict[str, str | None]) -> None:
    engine().check_model(body)


def test_another_model_is_unknown() -> None:
    with pytest.raises(NotFound, match=r"^The model `nope` does not exist\."):
        engine().check_model({"model": "nope"})
