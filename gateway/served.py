"""The models that are served, and which of them a request is for."""

from collections.abc import Mapping, Sequence

from attrs import define, field

from gateway.config import Model
from gateway.core import Call, Handler, Json, Middleware, Reply, compose
from gateway.dialects import Dialect
from gateway.dialects.chat_completions import ChatCompletions
from gateway.dialects.responses import Responses
from gateway.errors import BadRequest, NotFound
from gateway.native import Native
from gateway.pipeline import entries, tells_reasoning
from gateway.routing.pool import Pool


@define(eq=False)
class Served:
    """One model: its replicas, its pipeline, and the languages it is spoken to in."""

    name: str
    pool: Pool
    middlewares: Sequence[Middleware]
    dialects: Mapping[str, Dialect]
    native: Native | None = None
    """Set if Responses requests go to the engine unconverted."""
    handler: Handler = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.handler = compose(self.middlewares, self.pool)

    @classmethod
    def of(cls, name: str, model: Model, pool: Pool, middlewares: Sequence[Middleware]) -> "Served":
        """The model with what its configuration asks for, and these middlewares."""
        reasoning = model.chat_reasoning if tells_reasoning(entries(model)) else "untouched"
        chat = ChatCompletions(reasoning)
        native = Native.of(model) if model.is_responses_native else None
        responses = Responses("drop" if native else model.unsupported_tools)
        return cls(name, pool, middlewares, {d.name: d for d in (chat, responses)}, native)

    async def request_half(self, call: Call) -> Json:
        """The body that the pipeline would send."""
        return await request_half(self.middlewares, call)


async def request_half(middlewares: Sequence[Middleware], call: Call) -> Json:
    """The body that these middlewares make of the call's; nothing is sent."""
    sent: Json = {}

    async def end(call: Call) -> Reply:
        sent.update(call.body)
        return Reply.of()

    reply = await compose(middlewares, end)(call)
    await reply.aclose()
    return sent


@define
class Catalog:
    """The models by the names that clients may use."""

    models: Mapping[str, Served]
    default: str | None = None

    def find(self, asked: object, fixed: str | None = None) -> Served:
        """
        The model of a request: the one its path fixes, else the one its body names.

        A name is a configured one, or an engine's if only one model has it. With one model
        any name will do, and none. Raises NotFound, and BadRequest for a name that is missing.
        """
        if fixed is not None:
            return self._named(fixed)
        if asked is not None and not isinstance(asked, str):
            raise BadRequest("model must be a string", param="model")
        if len(self.models) == 1:
            return next(iter(self.models.values()))
        if asked is None and self.default is None:
            raise BadRequest(f"model is required: one of {self._known()}", param="model")
        return self._named(asked if asked is not None else str(self.default))

    def _named(self, name: str) -> Served:
        if name in self.models:
            return self.models[name]
        of_engine = [served for served in self.models.values() if served.pool.engine_model == name]
        if len(of_engine) != 1:
            message = f"there is no model {name!r}, but {self._known()}"
            raise NotFound(message, param="model", code="model_not_found")
        return of_engine[0]

    def _known(self) -> str:
        return ", ".join(self.models)

    def cards(self) -> list[Json]:
        """The models, as ``GET /v1/models`` lists them."""
        return [self.card(name) for name in self.models]

    def card(self, name: str) -> Json:
        """One model, with what its first replica says of it; raises NotFound."""
        served = self._named(name)
        known = next(
            (c.of(served.pool.engine_model) for c in served.pool.replicas.cards.values()), {}
        )
        return {
            "id": served.name,
            "object": "model",
            "created": known.get("created", 0),
            "owned_by": known.get("owned_by", "gym-gateway"),
            "root": served.pool.engine_model,
            "parent": None,
            "max_model_len": known.get("max_model_len"),
        }
