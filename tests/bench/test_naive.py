"""The reference gateway."""

import pytest

from tests.bench.contenders import NAIVE, started
from tests.bench.load.client import Client, Tally
from tests.bench.replica.server import running
from tests.bench.scenarios import SCENARIOS


@pytest.mark.parametrize("name", ["small", "stream"])
async def test_what_the_replica_answers_comes_through(name: str) -> None:
    call = SCENARIOS[name].call(0, "session")
    bodies = []
    async with running(name, 1) as upstreams:
        async with started(NAIVE, upstreams, (), call, None) as target:
            for port in (target.port, int(upstreams[0].rpartition(":")[2])):
                client = Client(port, Tally(), b"")
                bodies.append(await client.call(call))
                client.close()
    assert bodies[0] == bodies[1]
    assert bodies[0]
