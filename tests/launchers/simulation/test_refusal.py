"""vLLM's refusals, word for word."""

from launchers.simulation.refusal import (
    Fault,
    envelope,
    invalid,
    refused,
    unknown_model,
    unsupported_media_type,
)
from tests import recorded


def test_an_unknown_model_is_refused_as_recorded() -> None:
    assert envelope(unknown_model("nope", "tiny-plain")) == recorded.body("err-wrong-model")


def test_a_wrong_content_type_is_refused_as_recorded() -> None:
    assert envelope(unsupported_media_type()) == recorded.body("err-content-type")


def test_a_check_that_names_no_field_has_no_param() -> None:
    assert envelope(refused("n must be at least 1, got 0.")) == recorded.body("err-n-0")


def test_a_check_names_the_field_and_its_value() -> None:
    found = refused("top_p must be in (0, 1], got 2.0.", "top_p", 2.0)
    assert envelope(found) == recorded.body("err-top-p-2")


def test_a_body_without_a_field_is_refused_as_recorded() -> None:
    fault = Fault("missing", "body.messages", "Field required", {"a": 1, "b": 2, "c": 3})
    assert envelope(invalid([fault])) == recorded.body("err-messages-missing")


def test_at_most_ten_faults_are_listed() -> None:
    faults = [Fault("missing", f"body.{i}", "Field required") for i in range(12)]
    message = invalid(faults).message
    assert message.startswith("12 validation errors:\n  {'type': 'missing', 'loc': 'body.0'")
    assert message.endswith(
        "'loc': 'body.9', 'msg': 'Field required', 'input': 'None'}\n  ...and 2 more errors"
    )
