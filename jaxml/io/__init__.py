"""Safe input and output: atomic writes, unpickling without running code, memory limits."""

from jaxml.io import atomic, memory, unpickle

__all__ = ["atomic", "memory", "unpickle"]
