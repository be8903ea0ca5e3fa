"""Input and output that cannot do harm: atomic writes, unpickling without code, memory limits."""
