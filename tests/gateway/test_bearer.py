"""Keys in HTTP headers."""

import pytest

from gateway.bearer import with_key


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_a_key_takes_the_place_of_another_one(name: str) -> None:
    assert with_key({"A": "b", name: "Basic x"}, "k") == {"A": "b", "Authorization": "Bearer k"}


def test_the_given_headers_stay_as_they_are() -> None:
    given = {"A": "b"}
    with_key(given, "k")
    assert given == {"A": "b"}
