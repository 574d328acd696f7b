"""The store: its tables, the way in, and the few statements in which the databases differ."""

from accounting.store.engine import file_of, insert, open_engine, prepare, reading, writing
from accounting.store.sums import exact_sum

__all__ = ["open_engine", "prepare", "reading", "writing", "insert", "exact_sum", "file_of"]
