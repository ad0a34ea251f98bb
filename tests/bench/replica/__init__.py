"""
Scripted vLLM replicas that cost next to nothing: each has one answer, made beforehand.

``python -m tests.bench.replica ANSWER COUNT`` runs so many of them in one process, prints their
ports in one line, and goes on until it is ended.
"""
