"""Where a request has got to."""

from tests.gateway.web.seated import seat


def test_a_seat_is_nowhere_at_first() -> None:
    made = seat("s")
    assert (made.session.id, made.replica, made.attempts) == ("s", None, 0)


def test_seats_do_not_share_headers() -> None:
    assert seat().headers is not seat().headers
