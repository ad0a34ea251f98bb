"""Rollouts over the rows of a file: an agent's loop, tool servers, and lines that are kept."""
