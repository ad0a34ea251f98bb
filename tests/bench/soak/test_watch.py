"""What counts as growing."""

from random import Random

import pytest

from tests.bench.soak.watch import MIB, Sample, faults, growth


def sample(at: int, rss: float, descriptors: float = 100, sessions: int = 0) -> Sample:
    return Sample(at, int(rss), int(descriptors), cpu=0, sessions=sessions, calls=0)


def test_the_growth_is_that_of_the_line_through_the_samples() -> None:
    samples = [sample(at, 100 + 3 * at) for at in range(11)]
    assert growth(samples, lambda s: s.rss) == pytest.approx(30)


def test_what_stays_within_its_noise_does_not_grow() -> None:
    dice = Random(1)
    noisy = [sample(at, dice.gauss(100, 5) * MIB, dice.gauss(500, 40)) for at in range(60)]
    assert faults(noisy) == []


def test_what_grows_in_the_warm_up_alone_does_not_count() -> None:
    assert faults([sample(at, min(at, 20) * MIB, min(at, 20)) for at in range(60)]) == []


def test_memory_that_keeps_growing_is_a_fault() -> None:
    leaking = [sample(at, (100 + at) * MIB) for at in range(60)]
    assert faults(leaking) == ["memory grew by 29.0 MiB, with 0 new sessions"]


def test_a_thousand_sessions_may_take_two_mebibytes() -> None:
    tables = [sample(at, 10 * MIB + 1024 * 100 * at, sessions=100 * at) for at in range(60)]
    assert faults(tables) == []


def test_descriptors_that_keep_growing_are_a_fault() -> None:
    leaking = [sample(at, 100 * MIB, 100 + 2 * at) for at in range(60)]
    assert faults(leaking) == ["open descriptors grew by 58"]


def test_few_samples_tell_nothing() -> None:
    assert faults([sample(at, MIB) for at in range(9)]) == [
        "9 samples are too few to tell whether anything grows"
    ]
