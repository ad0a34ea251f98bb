"""How often Python looks for garbage that reference counts do not find."""

import gc

NEW_OBJECTS = 20_000
"""
Containers that are made between two looks at the young ones; Python's default is 700.

Calls in flight are many young objects that are not garbage: looking at them that often costs a
tenth of a small call, and hardly anything of a call is in a cycle.
"""


def look_rarely() -> None:
    """Leave what was made so far out of it for good, and look at the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
