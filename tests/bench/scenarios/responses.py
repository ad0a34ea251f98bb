"""The Responses API."""

from collections.abc import Sequence

from attrs import field, frozen

from gateway.core import Json
from tests.bench.scenarios.scenario import Scenario
from tests.bench.scenarios.small import VARIANTS
from tests.bench.text import conversation


@frozen(slots=False)
class Responses(Scenario):
    """A call of the Responses API, turned into chat and back; ``naive`` only passes it on."""

    path: str = field(default="/v1/responses", init=False)

    def bodies(self) -> Sequence[Json]:
        fields = {"temperature": 1.0, "max_output_tokens": 256}
        return [{"input": conversation(v, 2, 80), **fields} for v in range(VARIANTS)]
