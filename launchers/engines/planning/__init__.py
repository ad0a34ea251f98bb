"""Which engine goes to which nodes: pure functions, and what they are given."""
