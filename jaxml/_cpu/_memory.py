"""Keeps freed memory in the process (GNU C library only)."""

import ctypes
import sys

# glibc limits every heap but the first to 64 MiB; larger blocks always go back to the system.
LARGEST_HEAP = 64 * 2**20
# Parameters of `mallopt`, from glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -2, -3, -4, -8


def keep_freed_memory() -> None:
    """Makes glibc keep freed memory for the next array.

    XLA allocates memory at the beginning of a step and frees it at the end. By default glibc
    returns blocks of this size to the system, and Linux clears each page when it is touched again:
    73,000 pages in a step of ResNet-20 with 128 images, a quarter of its time on 2 cores. With more
    than two arenas, a thread does not find the memory that another has freed; with a single one,
    threads wait for each other, for a quarter of a step of Inception.
    """
    _set(_ARENA_MAX, 2)
    _set(_MMAP_MAX, 0)
    _set(_TRIM_THRESHOLD, -1)
    _set(_TOP_PAD, LARGEST_HEAP)  # otherwise an unused heap is returned


def return_large_blocks() -> None:
    """Makes glibc return freed blocks of at least 32 MiB to the system.

    A block that is kept does not serve the next array of its size if a small one has been placed
    in it since; then another block is allocated.
    """
    _set(_MMAP_MAX, 65_536)  # the default
    _set(_MMAP_THRESHOLD, LARGEST_HEAP // 2)  # the largest value


def _set(parameter: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(parameter, value)
