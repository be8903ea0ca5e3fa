"""Tunes JAX, XLA and the C library before JAX starts."""

import importlib.metadata
import importlib.util
from collections.abc import MutableMapping

from jaxml._cpu import _proof, _switches
from jaxml._cpu._memory import LARGEST_HEAP, keep_freed_memory

# Without it, the temporary buffers of a program are a single allocation, 300 MB for a step of
# ResNet-20 with 128 images. Two allocations of this size fit into a heap of glibc, together
# with small ones in between, such as those of a profiler. See `_programs` for larger programs.
HEAP_OPTION = f"--xla_multiheap_size_constraint_per_heap={LARGEST_HEAP * 3 // 8}"
XLA_OPTIONS = (
    # By default jaxlib 0.10 computes convolutions with YNNPACK, which from 32 channels on has half
    # the speed of Eigen. YNNPACK is faster for reductions, so those keep it. This makes a step of
    # ResNet-20 a quarter faster. Passed as a compiler option of `jax.jit`, the setting would be
    # added to the default instead of replacing it.
    "--xla_cpu_experimental_ynn_fusion_type=reduce",
    HEAP_OPTION,
)


def tune(environment: MutableMapping[str, str], *, xla_flags: bool = True) -> None:
    """Makes glibc keep freed memory, adds the XLA flags that work here, and configures JAX.

    Flags that `XLA_FLAGS` already has are left as they are. With an accelerator, neither flags nor
    JAX's settings are changed. Without one, it imports JAX, which reads the environment.

    Args:
      environment: `os.environ`; no device must have been used yet.
      xla_flags: whether to add flags and to configure JAX.
    """
    keep_freed_memory()
    if not xla_flags or has_accelerator() or not _switches.is_on(_switches.XLA_FLAGS, environment):
        return
    given = environment.get("XLA_FLAGS", "")
    missing = [flag for flag in XLA_OPTIONS if name_of(flag) not in given]
    added = [flag for flag in missing if _proof.flag_works(flag)]
    if added:
        environment["XLA_FLAGS"] = " ".join(filter(None, [given, *added]))
    run_in_calling_thread()


def run_in_calling_thread() -> None:
    """Makes JAX run a program for a single device in the thread that calls it.

    On another thread, a program allocates its buffers before those of the previous one are freed,
    and often in an arena that cannot keep blocks larger than a heap.
    """
    import jax  # JAX does not read this setting from the environment

    jax.config.update("jax_cpu_enable_async_dispatch", False)


def name_of(flag: str) -> str:
    """Returns a flag without its value."""
    return flag.partition("=")[0]


def has_accelerator() -> bool:
    """Returns whether JAX has a plugin for an accelerator; its flags may be others."""
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    return bool(plugins) or importlib.util.find_spec("libtpu") is not None
