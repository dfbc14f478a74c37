"""Runnable comparisons that print ratios: `python -m benchmarks.NAME --help`."""
