"""Gateways that are started and ended."""

import sys

import pytest

from tests.bench.contenders import NAIVE, OURS, Contender, NotStarted, started
from tests.bench.load.client import Client, Tally
from tests.bench.replica.server import running
from tests.bench.scenarios import SCENARIOS
from tests.processes import opened

PROBE = SCENARIOS["small"].call(0, "probe")


def test_the_words_of_a_command_are_filled_in() -> None:
    contender = Contender("peer", "env -C ../a {python} --port {port} --to {upstreams} {flags}")
    assert contender.words(8000, ["http://a", "http://b"], ["--training"]) == [
        *("env", "-C", "../a", sys.executable, "--port", "8000"),
        *("--to", "http://a", "http://b", "--training"),
    ]


def test_each_replica_is_a_base_url_of_ours() -> None:
    assert OURS.words(8000, ["http://a", "http://b"], [])[3:] == [
        *("--port", "8000", "--base-url", "http://a", "--base-url", "http://b")
    ]


async def test_a_gateway_answers_inside_and_is_gone_afterwards() -> None:
    async with running("small", 1) as upstreams:
        async with started(NAIVE, upstreams, (), PROBE, None) as target:
            tally = Tally()
            client = Client(target.port, tally, b"}")
            await client.call(PROBE)
            client.close()
            with opened([target.pid]) as [process]:
                assert process.words.split()[1:3] == ["-m", "tests.bench.naive"]
        with opened([target.pid]) as left:
            assert left == []
    assert (tally.calls, tally.errors) == (1, {})


async def test_a_gateway_that_ends_says_why() -> None:
    code = "import sys; sys.exit('no such option')"
    broken = Contender("broken", f'{{python}} -c "{code}"')
    with pytest.raises(NotStarted, match=r"^broken did not start\nno such option$"):
        async with started(broken, [], (), PROBE, None):
            pass
