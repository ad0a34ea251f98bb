"""Replicas that fail in the ways real ones do, agents that live through it, and the verdict."""
