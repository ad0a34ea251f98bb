"""``python -m tests.bench.replica``."""

import sys

import uvloop

from gateway.file_limit import raise_file_limit
from tests.bench.replica.server import serve

raise_file_limit()
uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
