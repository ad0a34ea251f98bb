"""Fields that win over whatever a call says."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from gateway.core import Call, Handler, Reply


@frozen
class SamplingOverrides:
    """Set these fields in every call, over those of the request and of ``extra_body``."""

    fields: Mapping[str, Any]

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        return await handler(call.replace(**self.fields))
