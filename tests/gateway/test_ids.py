"""Ids of calls and of sessions."""

import multiprocessing
import re

from gateway import ids
from gateway.ids import AT_ONCE, new_id


def test_an_id_has_thirty_two_hexadecimal_digits() -> None:
    assert re.fullmatch("[0-9a-f]{32}", new_id())


def test_a_process_and_its_fork_have_none_in_common() -> None:
    new_id()
    context = multiprocessing.get_context("fork")
    theirs = context.SimpleQueue()
    other = context.Process(target=lambda: theirs.put(new_id()))
    other.start()
    other.join()
    assert theirs.get() not in ids._left


def test_no_two_ids_are_alike() -> None:
    many = [new_id() for _ in range(3 * AT_ONCE)]
    assert len({*many}) == len(many)
