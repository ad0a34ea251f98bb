"""
What each part costs on its own, by pytest-benchmark.

``python -m pytest tests/bench/micro --benchmark-enable`` measures; without the option each runs
once, as a test.
"""
