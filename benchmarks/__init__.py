"""Runwright beside bare floors and its peers; run it with ``python -m benchmarks``."""
