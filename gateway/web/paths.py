"""The paths of calls, and what may stand before theirs and others."""

import re
from collections.abc import Mapping
from urllib.parse import unquote

from attrs import frozen
from yarl import URL

PREFIX = r"(?:(?:sessions|ng-rollout)/([^/]+)/)?(?:models/(.+?)/)?"
"""What a path may begin with, after its first slash: it fixes the session, the model, or both."""
_CALL = re.compile(
    f"/{PREFIX}(v1/chat/completions|v1/responses|v1/completions"
    "|(?:v1/)?tokenize|(?:v1/)?detokenize)"
)


@frozen
class CallPath:
    """Which endpoint is called, and the session and model that the path fixes."""

    endpoint: str
    """The last segment, which alone tells."""
    raw: str
    session: str | None = None
    model: str | None = None


_PLAIN: Mapping[bytes, CallPath] = {
    path.encode(): CallPath(endpoint, path)
    for endpoint, path in (
        ("chat/completions", "/v1/chat/completions"),
        ("responses", "/v1/responses"),
    )
}
"""What nearly all calls have."""


def call_path(target: bytes) -> CallPath | None:
    """The call that a request's target stands for; None if it is for something else."""
    plain = _PLAIN.get(target)
    if plain is not None:
        return plain
    raw = target.partition(b"?")[0].decode("latin-1")
    found = _CALL.fullmatch(raw) or _CALL.fullmatch(_canonical(raw))
    if found is None:
        return None
    session, model, endpoint = found.groups()
    return CallPath(
        endpoint.removeprefix("v1/"),
        raw,
        unquote(session) if session is not None else None,
        unquote(model) if model is not None else None,
    )


def _canonical(raw: str) -> str:
    """The same path where it was spelled in another way, or with the host before it."""
    try:
        return URL(raw).raw_path
    except ValueError:
        return ""
