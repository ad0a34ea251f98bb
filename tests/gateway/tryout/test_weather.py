"""The tool of the conversation."""

from gateway.tryout.weather import FUNCTION


def test_the_schema_is_one_that_strict_tools_may_have() -> None:
    schema = FUNCTION["parameters"]
    assert FUNCTION["strict"] is True
    assert schema["additionalProperties"] is False
    assert schema["required"] == [*schema["properties"]]
