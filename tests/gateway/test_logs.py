"""How the processes of the gateway log."""

import logging
import re
import subprocess
import sys
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gateway.logs import FORM, Lines

CODE = """
import logging
from gateway import logs
logs.to_stderr()
logging.getLogger("a.b").debug("nothing")
logging.getLogger("a.b").info("said %d", 1)
"""


def test_a_record_is_a_line_on_stderr() -> None:
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert run.stdout == ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO a\.b: said 1\n", run.stderr)


@given(st.lists(st.floats(0, 2**32), max_size=5))
def test_a_line_is_what_the_formatter_of_the_library_makes_of_it(times: Sequence[float]) -> None:
    lines, plain = Lines(FORM), logging.Formatter(FORM)
    for created in times:
        record = logging.LogRecord("a.b", logging.INFO, "", 0, "said %d", (1,), None)
        record.created, record.msecs = created, created % 1 * 1000
        assert lines.format(record) == plain.format(record)
