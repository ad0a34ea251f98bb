"""The lines of an endpoint file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import Replica
from gateway.endpoint_list import Endpoint, read, write

URL = "http://10.0.0.1:8000"
KEY = {"Authorization": "Bearer k"}
WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@pytest.mark.parametrize("line", [URL, f"{URL}/", f"{URL}/v1", f"  {URL}/v1/  # the first"])
def test_a_line_may_be_but_a_url(line: str) -> None:
    assert read(line) == Endpoint(URL)


@pytest.mark.parametrize("line", ["", "   ", "# nothing", f"# {URL}"])
def test_a_line_may_have_none(line: str) -> None:
    assert read(line) is None


@pytest.mark.parametrize("line", [f"{URL} {URL}", f"{URL} port=1", f"{URL} name=", f"{URL} name"])
def test_other_words_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match="after the URL there may be model=, name= and key="):
        read(line)


@given(model=WORDS, name=WORDS, key=WORDS)
def test_what_is_written_is_read(model: str, name: str, key: str) -> None:
    replica = Replica(name, URL, {"Authorization": f"Bearer {key}"})
    assert read(write({model: [replica]})) == Endpoint(URL, model, name, key)


def test_a_replica_without_a_key_has_none() -> None:
    assert write({"policy": [Replica("policy-0", URL)]}) == f"{URL} model=policy name=policy-0\n"


def test_a_replica_that_is_down_is_a_comment() -> None:
    line = write({"policy": [Replica("policy-0", "", down="restarts in 4 s")]})
    assert line == "# policy-0 of policy is down: restarts in 4 s\n"
    assert read(line) is None


@pytest.mark.parametrize(
    ("endpoint", "replica"),
    [
        (Endpoint(URL), Replica("10.0.0.1:8000", URL, {"A": "b"})),
        (Endpoint("https://h/a b"), Replica("h:443%2Fa%20b", "https://h/a b", {"A": "b"})),
        (Endpoint(URL, name="x y"), Replica("x%20y", URL, {"A": "b"})),
        (Endpoint(URL, key="k"), Replica("10.0.0.1:8000", URL, {"A": "b", **KEY})),
    ],
)
def test_a_replica_is_named_and_sent_what_the_line_says(
    endpoint: Endpoint, replica: Replica
) -> None:
    assert endpoint.replica({"A": "b"}) == replica


def test_no_key_is_shown() -> None:
    assert "secret" not in repr(read(f"{URL} key=secret"))
