"""What the launchers ask of XLA and of the C library, before a CPU's first large array."""

import ctypes
import importlib.metadata
import importlib.util
import sys
from collections.abc import MutableMapping

# A heap of glibc but for the first one has 64 MiB; what does not fit is always given back.
LARGEST_HEAP = 64 * 2**20
# XLA ends the process at a flag that it does not know, so only versions that were tried are asked.
TRIED = {"0.10.2"}
FLAGS = {
    # By default jaxlib 0.10 computes convolutions with YNNPACK, at half the speed of Eigen from 32
    # channels on; reductions stay with YNNPACK, which is the faster there. A step of ResNet-20
    # takes a quarter less time. As a compiler option of `jax.jit`, the same setting is added to the
    # default in the place of it.
    "--xla_cpu_experimental_ynn_fusion_type": "reduce",
    # What a program keeps between its operations is a single allocation otherwise, 300 MB for a
    # step of ResNet-20 with 128 images. Two of this size fit a heap of glibc, and with them the
    # small ones that come between, as those of a profiler do.
    "--xla_multiheap_size_constraint_per_heap": str(LARGEST_HEAP * 3 // 8),
}
# Names and numbers of `mallopt` in glibc's malloc.h.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX, ARENA_MAX = -1, -2, -4, -8


def tune(environment: MutableMapping[str, str]) -> None:
    """Tunes XLA, but for what `XLA_FLAGS` says already, and the C library, if it is glibc.

    Args:
      environment: `os.environ`, before the first use of a device.
    """
    _keep_freed_memory()
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    accelerated = bool(plugins) or importlib.util.find_spec("libtpu") is not None
    if accelerated or importlib.metadata.version("jaxlib") not in TRIED:
        return
    given = environment.get("XLA_FLAGS", "")
    asked = [f"{flag}={value}" for flag, value in FLAGS.items() if flag not in given]
    environment["XLA_FLAGS"] = " ".join(filter(None, [given, *asked]))


def _keep_freed_memory() -> None:
    """Keeps memory that is freed for the next array in the place of giving it to the system.

    XLA takes memory for a step when the step begins, and frees it at its end. By default glibc
    hands so much memory back at once, and Linux fills each page with zeros when it is touched
    again: 73,000 pages in a step of ResNet-20 with 128 images, a quarter of its time on 2 cores.
    With more than two arenas, a thread does not find what another has freed; with a single one,
    threads wait for each other, for a quarter of a step of Inception.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(ARENA_MAX, 2)
        mallopt(MMAP_MAX, 0)
        mallopt(TRIM_THRESHOLD, -1)
        mallopt(TOP_PAD, LARGEST_HEAP)  # or a heap goes back as soon as nothing in it is in use
