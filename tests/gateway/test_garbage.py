"""How often Python looks for garbage."""

import gc
import sys
from subprocess import run

from gateway.garbage import NEW_OBJECTS

LOOK = """
import gc
from gateway.garbage import look_rarely
before = gc.get_threshold()
look_rarely()
print(before[1:] == gc.get_threshold()[1:], gc.get_threshold()[0], gc.get_freeze_count() > 0)
"""


def test_it_looks_less_often_and_not_at_what_was_there_before() -> None:
    said = run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["True", str(NEW_OBJECTS), "True"]
    assert gc.get_threshold()[0] < NEW_OBJECTS  # this process was left alone
