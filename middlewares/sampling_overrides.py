"""Fields that win over whatever a call says."""

from collections.abc import Mapping
from typing import Any

from attrs import Attribute, field, frozen

from gateway.chat_request import verify_fields
from gateway.core import Call, Handler, Reply
from gateway.errors import BadRequest


def _sound(_: object, __: "Attribute[Any]", fields: Mapping[str, Any]) -> None:
    try:
        verify_fields(dict(fields))
    except BadRequest as error:
        raise ValueError(error.message) from None


@frozen
class SamplingOverrides:
    """
    Set these fields in every call, over those of the request and of ``extra_body``.

    One that is null is taken out of the call instead, so that the engine's default holds.
    """

    fields: Mapping[str, Any] = field(validator=_sound)

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        kept = {k: v for k, v in self.fields.items() if v is not None}
        return await handler(call.without(*self.fields).replace(**kept))
