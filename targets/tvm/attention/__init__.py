"""Attention over gathered keys, without a value of the size of queries times keys."""
