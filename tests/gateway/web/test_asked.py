"""A request for a model, as it came."""

import pytest

from gateway.core import Json
from gateway.web.asked import Asked
from gateway.web.meter import Meter
from tests.gateway.web.seated import seat

SECRET = "s3cret"


def asked(body: Json) -> Asked:
    where = seat()
    headers = {"Authorization": SECRET}
    raw = SECRET.encode()
    return Asked(body, raw, "completions", "id", headers, where, Meter(where, "chat"))


@pytest.mark.parametrize(
    ("body", "stream"),
    [({}, False), ({"stream": None}, False), ({"stream": 1}, False), ({"stream": True}, True)],
)
def test_a_stream_is_asked_for_by_true(body: Json, stream: bool) -> None:
    assert asked(body).stream is stream


def test_no_content_and_no_key_gets_into_a_log() -> None:
    assert SECRET not in repr(asked({"prompt": SECRET}))
