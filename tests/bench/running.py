"""Run the scenarios: all gateways of one are up together, and measured in turns."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from attrs import field, frozen

from tests.bench.contenders import NotStarted, Target, started
from tests.bench.cores import Cores, on
from tests.bench.figures import Measurement, Row, row
from tests.bench.options import Options
from tests.bench.replica.server import running
from tests.bench.scenarios.scenario import Scenario

Tell = Callable[[str], None]


@frozen
class Outcome:
    """What came of one scenario."""

    scenario: str
    rounds: dict[str, list[Measurement]] = field(factory=dict)
    """Of each gateway; the first is the reference."""
    fault: str = ""
    """Why nothing was measured."""
    skipped: str = ""
    """Why it was left out."""

    @property
    def rows(self) -> list[Row]:
        """The figures of each gateway."""
        reference = next(iter(self.rounds.values()), [])
        return [row(self.scenario, name, own, reference) for name, own in self.rounds.items()]

    @property
    def faults(self) -> list[str]:
        """All that went wrong."""
        found = [f"{self.scenario}: {self.fault}"] if self.fault else []
        for name, rounds in self.rounds.items():
            for number, measured in enumerate(rounds, 1):
                for error, times in measured.errors.items():
                    found.append(f"{self.scenario}, {name}, round {number}: {times} x {error}")
        return found


async def run(options: Options, tell: Tell) -> list[Outcome]:
    """The outcomes of all scenarios; ``tell`` hears how far it is."""
    outcomes = []
    for scenario in options.scenarios:
        try:
            outcomes.append(await _measured(scenario, options, tell))
        except NotStarted as error:
            outcomes.append(_not_started(scenario, str(error)))
            tell(f"{scenario.name}: {error}")
    return outcomes


def _not_started(scenario: Scenario, why: str) -> Outcome:
    if scenario.optional:
        return Outcome(scenario.name, skipped=why.splitlines()[-1])
    return Outcome(scenario.name, fault=why)


async def _measured(scenario: Scenario, options: Options, tell: Tell) -> Outcome:
    async with _targets(scenario, options) as targets:
        outcome = Outcome(scenario.name, {target.name: [] for target in targets})
        for target in targets:
            await scenario.warm_up(target)
        for number in range(1, options.rounds + 1):
            for target in targets:
                tell(f"{scenario.name}: round {number} of {options.rounds}, {target.name}")
                measured = await scenario.measure(target, options.seconds)
                outcome.rounds[target.name].append(measured)
    return outcome


@asynccontextmanager
async def _targets(scenario: Scenario, options: Options) -> AsyncIterator[list[Target]]:
    """The gateways, on real replicas or on scripted ones."""
    cores = Cores.here() if scenario.pinned else Cores(None, None)
    async with AsyncExitStack() as stack:
        stack.enter_context(on(cores.others))
        upstreams: Sequence[str] = options.base_urls
        if not upstreams:
            scripted = running(scenario.answer, scenario.replicas)
            upstreams = await stack.enter_async_context(scripted)
        targets = []
        for contender in scenario.contenders(options.contenders):
            gateway = started(
                contender, upstreams, scenario.flags, scenario.call(0, "probe"), cores.gateway
            )
            targets.append(await stack.enter_async_context(gateway))
        yield targets
