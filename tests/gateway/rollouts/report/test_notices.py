"""Why rollouts wait."""

from gateway.errors import NoReplica
from gateway.rollouts.report.notices import EVERY, Notices


def test_the_first_of_each_minute_is_told_without_the_key() -> None:
    said: list[str] = []
    times = iter([0.0, EVERY - 1, EVERY, EVERY + 1])
    notices = Notices(said.append, "sk-1", lambda: next(times))
    for number in range(4):
        notices(NoReplica(f"down {number} for sk-1"))
    assert said == ["waiting: down 0 for ***", "waiting: down 2 for ***"]


def test_the_key_is_not_in_the_repr() -> None:
    assert "sk-1" not in repr(Notices(print, "sk-1"))
