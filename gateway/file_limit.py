"""How many files the process may have open: a call takes up to two, and the usual limit is 1024."""

import resource

MOST = 1_048_576
"""Where nothing limits the limit."""


def raise_file_limit() -> None:
    """Take as many as the process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else MOST
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
