"""Errors on their way from one process to another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack

from gateway import errors
from gateway.errors import GatewayError, UpstreamUnreachable
from gateway.workers.faults import Fault

KINDS = [GatewayError, *(kind for kind in vars(errors).values() if isinstance(kind, type))]
GIVEN = [kind for kind in KINDS if issubclass(kind, GatewayError)]
text = st.text(max_size=20)


def passed(error: GatewayError) -> GatewayError:
    return msgpack.decode(msgpack.encode(Fault.of(error)), type=Fault).error()


@given(
    st.sampled_from(GIVEN),
    text,
    st.integers(400, 599),
    st.one_of(st.none(), text),
    st.one_of(text, st.integers(0, 600)),
    st.one_of(st.none(), st.floats(0, 100)),
    st.one_of(st.none(), text),
    st.integers(0, 3),
)
def test_an_error_arrives_as_it_was(
    kind: type[GatewayError],
    message: str,
    status: int,
    param: str | None,
    code: str | int,
    retry_after: float | None,
    replica: str | None,
    attempts: int,
) -> None:
    error = kind(
        message,
        status=status,
        type="some",
        param=param,
        code=code,
        retry_after=retry_after,
        replica=replica,
        attempts=attempts,
    )
    again = passed(error)
    assert (type(again), vars(again), again.args) == (kind, vars(error), error.args)


@pytest.mark.parametrize("refused", [True, False])
def test_a_refused_connection_stays_one(refused: bool) -> None:
    again = passed(UpstreamUnreachable("gone", refused=refused))
    assert isinstance(again, UpstreamUnreachable)
    assert again.refused is refused
