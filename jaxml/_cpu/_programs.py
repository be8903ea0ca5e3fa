"""Bounds the memory of large compiled programs."""

import os
from typing import Any

import jax

from jaxml._cpu._memory import return_large_blocks
from jaxml._cpu._tuning import HEAP_OPTION, name_of
from jaxml.io import memory

# Largest fraction of the available memory that a program may take in heaps of a limited size. The
# process can hold four times as much, as a heap does not always fit in the gaps that others left.
HEAPS_FRACTION = 1 / 8


def limit(lowered: Any, compiled: Any) -> Any:
    """Returns a program whose temporary buffers are a single allocation if they are large.

    Heaps of a limited size are faster, since the C library keeps them for the next step. But
    buffers that exceed a heap are not reused within a step: one of ResNet-50 with 32 images of
    224x224 takes 8.9 GiB in heaps, of which the process soon holds 15, and 4.3 GiB in a single
    allocation. That returns to the system after each call: if the C library kept it, small arrays
    could be placed in it, and the next call would need another one.

    Args:
      lowered: the lowered program.
      compiled: the same program, compiled with the XLA flags of `tune`.
    """
    if jax.default_backend() != "cpu" or HEAP_OPTION not in os.environ.get("XLA_FLAGS", ""):
        return compiled
    available = memory.available_on(jax.local_devices())
    if available is None or memory.of_program(compiled) <= HEAPS_FRACTION * available:
        return compiled
    return_large_blocks()
    return lowered.compile(compiler_options={name_of(HEAP_OPTION).removeprefix("--"): -1})
