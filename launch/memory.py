"""What the launchers ask of the C library before the first large array."""

import ctypes
import sys

# Names of `mallopt` in glibc's malloc.h.
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8


def keep_freed() -> None:
    """Keeps memory that is freed for the next array in the place of giving it to the system.

    XLA takes memory for a step on a CPU when the step begins, and frees it at its end. By default
    glibc hands so much memory back at once, and Linux fills each page with zeros when it is touched
    again: 80,000 pages in a step of ResNet-20 with 128 images, an eighth of its time on 2 cores.
    With more than two arenas, a thread does not find what another has freed; with a single one,
    threads that compile wait for each other. Does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for name, value in ((ARENA_MAX, 2), (MMAP_MAX, 0), (TRIM_THRESHOLD, -1)):
            mallopt(name, value)
