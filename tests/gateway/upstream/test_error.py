"""Errors of replicas."""

import json

import pytest

from gateway.core import Json
from gateway.dialects.envelope import openai_error
from gateway.upstream.error import read_error, status_in_stream
from tests import recorded


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in recorded.names("err-", path="/v1/chat/completions")
        if isinstance(recorded.body(n), dict) and isinstance(recorded.body(n).get("error"), dict)
    ],
)
def test_the_engines_error_object_is_kept(name: str) -> None:
    response = recorded.load(name)["response"]
    error = read_error(response["status"], _raw(response["body"]))
    assert openai_error(error) == response["body"]
    assert error.status == response["status"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "Unauthorized"}, "Unauthorized"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"object": "error", "message": "old", "type": "t", "param": None, "code": 400}, "old"),
        ({"error": {"message": ""}}, "the replica answered 418"),
        ({"error": {"message": 5}}, "the replica answered 418"),
        ({"error": [1]}, "the replica answered 418"),
        ([], "the replica answered 418"),
        ({}, "the replica answered 418"),
    ],
)
def test_other_shapes_give_a_message_too(body: Json, message: str) -> None:
    assert read_error(418, _raw(body)).message == message


def test_a_page_of_a_proxy_is_cut() -> None:
    error = read_error(502, b"<html>" + b"x" * 5000)
    assert error.message.startswith("<html>")
    assert len(error.message) == 2000


def test_bytes_that_are_no_text_do_no_harm() -> None:
    assert read_error(500, b"\xff\xfe").status == 500


@pytest.mark.parametrize(
    ("code", "status"), [(500, 500), (400, 400), ("x", 502), (None, 502), (200, 502)]
)
def test_an_error_event_has_its_status_in_code(code: object, status: int) -> None:
    assert status_in_stream({"code": code}) == status


def _raw(value: object) -> bytes:
    return json.dumps(value).encode()
