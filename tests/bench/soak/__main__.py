"""``python -m tests.bench.soak``."""

import sys

from tests.bench.soak.soak import main

sys.exit(main())
