"""Clients that cost next to nothing."""
