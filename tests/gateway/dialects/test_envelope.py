"""The OpenAI error object."""

import pytest

from gateway.dialects.envelope import openai_error
from gateway.errors import BadRequest, GatewayError, NotFound, UpstreamError


@pytest.mark.parametrize(
    ("error", "type", "param", "code"),
    [
        (BadRequest("no", param="n"), "invalid_request_error", "n", None),
        (NotFound("no", code="model_not_found"), "invalid_request_error", None, "model_not_found"),
        (UpstreamError("no", type="BadRequestError", code=400), "BadRequestError", None, 400),
        (GatewayError("no"), "server_error", None, None),
    ],
)
def test_an_error_has_all_four_fields(
    error: GatewayError, type: str, param: str | None, code: str | int | None
) -> None:
    assert openai_error(error) == {
        "error": {"message": "no", "type": type, "param": param, "code": code}
    }


def test_where_the_call_was_is_not_told() -> None:
    error = UpstreamError("no", replica="gpu-node-1", attempts=3, retry_after=2.0)
    assert "gpu-node-1" not in str(openai_error(error))
