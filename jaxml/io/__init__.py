"""Atomic writes, safe unpickling, cache folders, memory limits and child processes."""

from jaxml.io import atomic, cache, memory, process, unpickle

__all__ = ["atomic", "cache", "memory", "process", "unpickle"]
