"""How the processes of the gateway log."""

import re
import subprocess
import sys

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
