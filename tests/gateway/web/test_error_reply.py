"""An error as a client is told of it."""

import json

import pytest

from gateway.core import Json
from gateway.errors import GatewayError, NoReplica
from gateway.web.error_reply import error_reply, told


def test_an_error_of_ours_is_told_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    error = NoReplica("none is up")
    assert told(error, "call-1") is error
    assert caplog.records == []


def test_of_any_other_only_the_log_is_told(caplog: pytest.LogCaptureFixture) -> None:
    fault = RuntimeError("inner detail")
    error = told(fault, "call-1")
    assert (error.status, error.message) == (500, "internal error")
    [record] = caplog.records
    assert record.getMessage() == "call call-1 failed"
    assert record.exc_info is not None
    assert record.exc_info[1] is fault


def test_the_body_is_in_the_envelope() -> None:
    def brief(error: GatewayError) -> Json:
        return {"oops": error.message}

    error = NoReplica("none is up")
    assert [error_reply(error, brief)[1], json.loads(error_reply(error)[1])["error"]["code"]] == [
        b'{"oops":"none is up"}',
        "no_replica",
    ]


@pytest.mark.parametrize(
    ("seconds", "headers"), [(None, {}), (0.0, {"Retry-After": "0"}), (1.2, {"Retry-After": "2"})]
)
def test_when_to_come_again_is_told_in_whole_seconds_and_never_too_early(
    seconds: float | None, headers: dict[str, str]
) -> None:
    assert error_reply(NoReplica("none is up", retry_after=seconds))[0] == headers
