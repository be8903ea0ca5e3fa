"""Tunes XLA and the C library for computing on a CPU."""

import ctypes
import importlib.metadata
import importlib.util
import sys
from collections.abc import MutableMapping

# glibc limits every heap but the first to 64 MiB; larger blocks always go back to the system.
LARGEST_HEAP = 64 * 2**20
# XLA aborts on an unknown flag, so flags are only set for versions that were tested.
TESTED = {"0.10.2"}
FLAGS = {
    # By default jaxlib 0.10 computes convolutions with YNNPACK, which from 32 channels on has half
    # the speed of Eigen. YNNPACK is faster for reductions, so those keep it. This makes a step of
    # ResNet-20 a quarter faster. Passed as a compiler option of `jax.jit`, the setting would be
    # added to the default instead of replacing it.
    "--xla_cpu_experimental_ynn_fusion_type": "reduce",
    # Otherwise the temporary buffers of a program are a single allocation, 300 MB for a step of
    # ResNet-20 with 128 images. Two allocations of this size fit into a heap of glibc, together
    # with small ones in between, such as those of a profiler.
    "--xla_multiheap_size_constraint_per_heap": str(LARGEST_HEAP * 3 // 8),
}
# Parameters of `mallopt`, from glibc's malloc.h.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX, ARENA_MAX = -1, -2, -4, -8


def tune(environment: MutableMapping[str, str]) -> None:
    """Tunes XLA and, on Linux, glibc; keeps the flags that `XLA_FLAGS` already has.

    Args:
      environment: `os.environ`; no device must have been used yet.
    """
    _keep_freed_memory()
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    accelerated = bool(plugins) or importlib.util.find_spec("libtpu") is not None
    if accelerated or importlib.metadata.version("jaxlib") not in TESTED:
        return
    given = environment.get("XLA_FLAGS", "")
    added = [f"{flag}={value}" for flag, value in FLAGS.items() if flag not in given]
    environment["XLA_FLAGS"] = " ".join(filter(None, [given, *added]))


def _keep_freed_memory() -> None:
    """Makes glibc keep freed memory for the next array.

    XLA allocates memory at the beginning of a step and frees it at the end. By default glibc
    returns blocks of this size to the system, and Linux clears each page when it is touched again:
    73,000 pages in a step of ResNet-20 with 128 images, a quarter of its time on 2 cores. With more
    than two arenas, a thread does not find the memory that another has freed; with a single one,
    threads wait for each other, for a quarter of a step of Inception.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(ARENA_MAX, 2)
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, -1)
        mallopt(TOP_PAD, LARGEST_HEAP)  # otherwise an unused heap is returned
