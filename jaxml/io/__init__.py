"""Input and output: atomic writes, safe unpickling, cache folders, memory limits."""

from jaxml.io import atomic, cache, memory, unpickle

__all__ = ["atomic", "cache", "memory", "unpickle"]
