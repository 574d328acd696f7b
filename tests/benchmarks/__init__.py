"""Measurements, run by hand: `python -m tests.benchmarks.NAME`. Each prints ours beside its yardstick."""
