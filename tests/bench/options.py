"""What is to be measured."""

from attrs import frozen

from tests.bench.contenders import NAIVE, OURS, Contender
from tests.bench.scenarios import SCENARIOS
from tests.bench.scenarios.scenario import Scenario


@frozen
class Options:
    """How long, how often, and of what."""

    scenarios: tuple[Scenario, ...] = tuple(SCENARIOS.values())
    contenders: tuple[Contender, ...] = (NAIVE, OURS)
    """The others are compared with the first."""
    seconds: float = 3.0
    """Of a measurement."""
    rounds: int = 3
    base_urls: tuple[str, ...] = ()
    """Real replicas, instead of scripted ones."""
