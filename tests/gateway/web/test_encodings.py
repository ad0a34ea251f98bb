"""Bodies of requests that were sent compressed."""

import gzip
import zlib
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, TooLarge
from gateway.web.encodings import decoded

PACK: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


@given(st.binary(), st.lists(st.sampled_from(sorted(PACK)), max_size=3))
def test_a_body_is_what_it_was_before_it_was_encoded(body: bytes, names: list[str]) -> None:
    sent = body
    for name in names:
        sent = PACK[name](sent)
    assert decoded(", ".join(names), sent, 10_000) == body


@pytest.mark.parametrize("encoding", [None, "", "identity", "Identity ,"])
def test_a_body_that_is_not_encoded_is_itself(encoding: str | None) -> None:
    assert decoded(encoding, b"{}", 2) == b"{}"


def test_the_name_may_be_in_any_case() -> None:
    assert decoded("GZip", gzip.compress(b"{}"), 2) == b"{}"


@pytest.mark.parametrize("name", PACK)
def test_what_is_not_encoded_as_it_says_is_refused(name: str) -> None:
    with pytest.raises(BadRequest) as raised:
        decoded(name, b"s3cret", 10)
    assert raised.value.message == f"the body cannot be read: it is not {name}"


@pytest.mark.parametrize("name", PACK)
def test_what_is_cut_off_is_refused(name: str) -> None:
    with pytest.raises(BadRequest) as raised:
        decoded(name, PACK[name](b"some text")[:-1], 10)
    assert raised.value.message == f"the body cannot be read: its {name} is cut off"


def test_an_encoding_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(BadRequest) as raised:
        decoded("gzip, br", b"", 10)
    assert (raised.value.status, raised.value.param) == (415, "Content-Encoding")
    assert raised.value.message == "Content-Encoding 'br' is not known, but gzip and deflate are"


@pytest.mark.parametrize("name", PACK)
def test_a_body_may_be_as_long_as_is_allowed(name: str) -> None:
    assert len(decoded(name, PACK[name](bytes(1000)), 1000)) == 1000


@pytest.mark.parametrize("name", PACK)
def test_a_body_that_grows_too_long_is_refused(name: str) -> None:
    with pytest.raises(TooLarge, match=r"^the request body is larger than limits.body allows$"):
        decoded(name, PACK[name](bytes(10**7)), 1000)
