"""Fields that win over whatever a call says."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from gateway.core import Call, Handler, Reply


@frozen
class SamplingOverrides:
    """
    Set these fields in every call, over those of the request and of ``extra_body``.

    One that is null is taken out of the call instead, so that the engine's default holds.
    """

    fields: Mapping[str, Any]

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        kept = {k: v for k, v in self.fields.items() if v is not None}
        return await handler(call.without(*self.fields).replace(**kept))
