"""The comparison, on simulated engines."""

from pathlib import Path

from tests.bench.affinity import Round, Work, compare, report
from tests.gateway_process import gateway

SIMULATED = ("++models.policy.launcher={simulated: {replicas: 2}}",)
SMALL = Work(sessions=3, turns=4, system=100, words=20)


async def test_with_affinity_a_conversation_stays_on_one_replica(tmp_path: Path) -> None:
    with gateway("++listen.port=0", *SIMULATED, folder=tmp_path) as served:
        rounds = await compare(served.url, SMALL, 1)
    assert [one.affinity for one in rounds] == [True, False]
    assert {len(places) for places in rounds[0].places.values()} == {1}
    assert max(len(places) for places in rounds[1].places.values()) == 2


async def test_each_goes_first_in_every_other_pair(tmp_path: Path) -> None:
    with gateway("++listen.port=0", *SIMULATED, folder=tmp_path) as served:
        rounds = await compare(served.url, Work(1, 1, 1, 1), 2)
    assert [one.affinity for one in rounds] == [True, False, False, True]


def test_the_report_tells_how_much_faster_it_is() -> None:
    rounds = [
        Round(True, 2.0, 100, 75, {"a": {"r1"}}),
        Round(False, 3.0, 100, 50, {"b": {"r1", "r2"}}),
    ]
    assert report(rounds).splitlines()[2:] == [
        "| with     |     2.0 |                  75% |                       1.0 |",
        "| without  |     3.0 |                  50% |                       2.0 |",
        "",
        "1.50 times as fast with affinity",
    ]
