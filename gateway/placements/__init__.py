"""Where new sessions go: one way of placing them per file."""
