"""What can go wrong, and with which status the client hears of it."""

from typing import Any

import pytest

from gateway import errors
from gateway.errors import ConfigError, GatewayError, LaunchError, StartError, UpstreamUnreachable

STATUSES = [
    ("BadRequest", 400, "invalid_request_error", None),
    ("Unauthorized", 401, "authentication_error", "invalid_api_key"),
    ("Forbidden", 403, "permission_error", None),
    ("NotFound", 404, "invalid_request_error", None),
    ("TooLarge", 413, "invalid_request_error", None),
    ("Overloaded", 503, "overloaded_error", None),
    ("UpstreamError", 502, "upstream_error", None),
    ("UpstreamUnreachable", 502, "upstream_unreachable", None),
    ("NoReplica", 503, "service_unavailable", "no_replica"),
]


@pytest.mark.parametrize(("name", "status", "type", "code"), STATUSES)
def test_each_error_has_its_status(name: str, status: int, type: str, code: str | None) -> None:
    error = getattr(errors, name)("because")
    assert (error.status, error.type, error.code) == (status, type, code)


def test_every_error_that_clients_hear_of_is_in_the_table() -> None:
    kinds = [cls for cls in GatewayError.__subclasses__() if cls.__module__ == errors.__name__]
    assert {cls.__name__ for cls in kinds} == {row[0] for row in STATUSES}


def test_an_upstream_error_keeps_what_the_replica_said() -> None:
    error = errors.UpstreamError("no", status=404, type="NotFoundError", param="model", code=404)
    kept = (error.message, error.status, error.type, error.param, error.code)
    assert kept == ("no", 404, "NotFoundError", "model", 404)


def test_the_text_of_an_error_is_its_message() -> None:
    assert str(errors.NoReplica("no replica of 'm' is up")) == "no replica of 'm' is up"


def test_a_refused_connection_is_told_from_a_broken_one() -> None:
    assert UpstreamUnreachable("no", refused=True).refused
    assert not UpstreamUnreachable("no").refused


@pytest.mark.parametrize("kind", [ConfigError, LaunchError])
def test_the_faults_of_a_start_are_told_at_once(kind: type[StartError]) -> None:
    error = kind(["one", "two"])
    assert (error.faults, str(error)) == (["one", "two"], "one\ntwo")


def test_one_fault_may_be_given_alone() -> None:
    assert ConfigError("one").faults == ["one"]


def test_the_faults_of_a_group_are_those_of_all_its_errors_each_once() -> None:
    inner: Any = ExceptionGroup("inner", [ConfigError("two"), LaunchError(["one", "three"])])
    outer: Any = ExceptionGroup("outer", [LaunchError("one"), inner])
    assert errors.faults(outer) == ["one", "two", "three"]
