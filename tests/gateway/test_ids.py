"""Ids of calls and of sessions."""

import re

from gateway.ids import AT_ONCE, new_id


def test_an_id_has_thirty_two_hexadecimal_digits() -> None:
    assert re.fullmatch("[0-9a-f]{32}", new_id())


def test_no_two_ids_are_alike() -> None:
    many = [new_id() for _ in range(3 * AT_ONCE)]
    assert len({*many}) == len(many)
