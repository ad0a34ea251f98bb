"""What a process takes, over time, and whether that grows."""

from collections.abc import Callable, Sequence
from statistics import fmean, linear_regression

from attrs import frozen

MIB = 2**20
ENOUGH = 8
"""Samples in the second half without which nothing can be said."""
MEMORY_TOLERANCE = 0.05
"""The part of its mean by which memory may grow: allocators are never still."""
FILES_TOLERANCE = 0.25
"""The same of descriptors, which follow the calls in flight; what is left over tells more."""
PER_SESSION = 2048
"""Bytes by which the table of sessions may grow for each new one."""


@frozen
class Sample:
    """A look at the gateway and its clients."""

    at: float
    """Seconds since the start."""
    rss: int
    """Bytes."""
    descriptors: int
    cpu: float
    """Seconds of CPU time."""
    sessions: int
    """Begun until now; the gateway remembers all of them."""
    calls: int
    """Ended until now."""


def second_half(samples: Sequence[Sample]) -> Sequence[Sample]:
    """What comes after the warm-up."""
    return samples[len(samples) // 2 :]


def growth(samples: Sequence[Sample], of: Callable[[Sample], float]) -> float:
    """By how much a figure grew from the first to the last sample, on the line that fits best."""
    times = [sample.at for sample in samples]
    slope = linear_regression(times, [of(sample) for sample in samples]).slope
    return slope * (times[-1] - times[0])


def faults(samples: Sequence[Sample]) -> list[str]:
    """What kept growing in the second half of the samples."""
    half = second_half(samples)
    if len(half) < ENOUGH:
        return [f"{len(samples)} samples are too few to tell whether anything grows"]
    known = half[-1].sessions - half[0].sessions
    memory = growth(half, lambda s: s.rss)
    files = growth(half, lambda s: s.descriptors)
    found = []
    if memory > MEMORY_TOLERANCE * fmean(s.rss for s in half) + PER_SESSION * known:
        found.append(f"memory grew by {memory / MIB:.1f} MiB, with {known} new sessions")
    if files > FILES_TOLERANCE * fmean(s.descriptors for s in half):
        found.append(f"open descriptors grew by {files:.0f}")
    return found
