"""Several processes that share a port: one that decides, and workers that carry the calls."""
