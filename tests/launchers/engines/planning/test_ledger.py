"""The ledger of GPUs and CPUs."""

from launchers.engines.planning.ledger import Ledger, Share
from launchers.engines.planning.topology import Node

NODE = Node("a", "10.0.0.1", gpus=6, total=8, cpus=3)


def test_what_is_taken_is_not_free_any_more() -> None:
    ledger = Ledger([NODE])
    ledger.take("policy-0", [Share(NODE, gpus=4, ranks=2)])
    assert (ledger.gpus(NODE), ledger.cpus(NODE)) == (2, 1)


def test_a_rank_needs_all_of_its_gpus() -> None:
    assert Ledger([NODE]).ranks(NODE, world=4) == 1


def test_a_rank_needs_a_cpu() -> None:
    assert Ledger([NODE]).ranks(NODE, world=1) == 3


def test_a_node_knows_its_engines() -> None:
    ledger = Ledger([NODE])
    assert ledger.untouched(NODE)
    ledger.take("policy-0", [Share(NODE, gpus=4, ranks=2)])
    ledger.take("judge-0", [Share(NODE, gpus=1, ranks=1)])
    assert ledger.holders(NODE) == [("policy-0", 4), ("judge-0", 1)]
    assert not ledger.untouched(NODE)
