"""Arguments of the chat template."""

import logging
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from gateway.chat_request import metadata_object
from gateway.core import Call, Handler, Json, Once, Reply

logger = logging.getLogger(__name__)


@frozen
class ChatTemplate:
    """
    Merge ``chat_template_kwargs``: these, then the request's own, then ``metadata``'s.

    Nested objects are replaced, not merged. The request's own count only with
    ``forward_request``; else they are dropped, with one warning. With
    ``continue_final_message`` a trailing assistant message is continued instead of answered.
    """

    kwargs: Mapping[str, Any] = field(factory=dict)
    forward_request: bool = True
    continue_final_message: bool = False
    _once: Once = field(factory=lambda: Once(logger), init=False)

    async def __call__(self, call: Call, handler: Handler) -> Reply:
        merged = {
            **self.kwargs,
            **self._own(call),
            **metadata_object(call.body, "chat_template_kwargs"),
        }
        call = call.without("chat_template_kwargs")
        if merged:
            call = call.replace(chat_template_kwargs=merged)
        if self.continue_final_message and _ends_with_assistant(call.body):
            call = call.replace(continue_final_message=True, add_generation_prompt=False)
        return await handler(call)

    def _own(self, call: Call) -> Json:
        own: Json = call.body.get("chat_template_kwargs") or {}
        if own and not self.forward_request:
            self._once(
                call.model,
                "model %s: chat_template_kwargs of requests are dropped, since "
                "forward_request_chat_template_kwargs is false",
                call.model,
            )
            return {}
        return own


def _ends_with_assistant(body: Json) -> bool:
    messages = body["messages"]
    return bool(messages) and messages[-1]["role"] == "assistant"
