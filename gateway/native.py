"""Responses requests for engines that speak that API better than chat (gpt-oss)."""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from gateway.chat_request import metadata_object
from gateway.config import Model
from gateway.core import Json
from gateway.shapes import a, verify

_FIELDS = {"metadata": a(dict), "chat_template_kwargs": a(dict), "stream": a(bool)}


@frozen
class Native:
    """
    What is done to a Responses request that the engine gets unconverted.

    The same layers as for chat, weak to strong: ``extra_body``, ``metadata.extra_body``, the
    request's own fields, ``sampling_overrides``. Template arguments are merged: configured,
    the request's, ``metadata``'s.
    """

    extra_body: Mapping[str, Any]
    template: Mapping[str, Any]
    overrides: Mapping[str, Any]
    propagate: bool
    """Whether a context overflow is the client's error instead of an empty response."""

    @classmethod
    def of(cls, model: Model) -> "Native":
        return cls(
            model.extra_body or {},
            model.chat_template_kwargs or {},
            model.sampling_overrides or {},
            model.propagate_context_overflow_errors,
        )

    def body(self, body: Json) -> Json:
        """The body for the engine; raises BadRequest that names the field."""
        verify(body, _FIELDS)
        merged = {**self.extra_body, **metadata_object(body, "extra_body"), **body}
        template = {
            **self.template,
            **(body.get("chat_template_kwargs") or {}),
            **metadata_object(body, "chat_template_kwargs"),
        }
        merged |= {"chat_template_kwargs": template or None, **self.overrides}
        return {k: v for k, v in merged.items() if v is not None}
