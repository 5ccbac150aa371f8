"""Benchmarks: `python -m benchmarks NAME` measures and prints a table; they are no tests and have no limits."""
