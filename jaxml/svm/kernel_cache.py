"""Rows of a kernel matrix, computed when they are needed and kept within a budget of memory."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.errors import InputError
from jaxml.svm.kernels import Kernel, bind, matrix
from jaxml.types import Array

# Rows are computed in blocks of these sizes, so that few programs are compiled.
BLOCKS = (1024, 256, 64)


class KernelCache:
    """Rows of the kernel of examples with all of them, the least recently used making room.

    Attributes:
      rows: `[slots, groups, group size]`; the columns are the examples, group by group.
      num_slots: how many rows there is room for.
      num_computed: how many rows were computed so far, again and again counted.
    """

    def __init__(
        self, kernel: Kernel, examples: Array, num_groups: int, *, memory: float, least: int
    ) -> None:
        """Allocates the cache.

        Args:
          kernel: of two sets of examples.
          examples: `[groups * group size, features]`, or `[examples, examples]` their kernel
            itself where `kernel` is `precomputed`.
          num_groups: into how many groups of equal size they fall.
          memory: bytes for the rows.
          least: how many rows are needed at once.

        Raises:
          InputError: there is no memory for so many.
        """
        count = len(examples)
        row_bytes = count * examples.dtype.itemsize
        self.num_slots = min(count, int(memory // row_bytes))
        if self.num_slots < min(least, count):
            need = min(least, count) * row_bytes / 2**20
            raise InputError(
                f"cache_size: {memory / 2**20:g} MiB is not allowed, "
                f"one working set of {least} rows takes {need:.3g} MiB"
            )
        self.num_computed = 0
        self._kernel, self._examples = bind(kernel), examples
        # One more, into which the filling of the last block of rows goes.
        self.rows = jnp.zeros((self.num_slots + 1, num_groups, count // num_groups), examples.dtype)
        self._slot_of = np.full(count, -1, np.int32)
        self._example_in = np.full(self.num_slots, -1, np.int64)
        self._used_at = np.full(self.num_slots, -1, np.int64)
        self._now = 0

    def hold(self, examples: np.ndarray) -> None:
        """Computes those rows that are missing; at most `num_slots` different ones."""
        self._now += 1
        needed = np.unique(examples)
        held = self._slot_of[needed]
        self._used_at[held[held >= 0]] = self._now
        missing = needed[held < 0]
        slots = self._make_room(len(missing))
        start = 0
        for size in _blocks(len(missing)):
            part = slice(start, start + size)
            start += size
            index = np.zeros(size, np.int32)
            into = np.full(size, self.num_slots, np.int32)
            index[: len(missing[part])] = missing[part]
            into[: len(missing[part])] = slots[part]
            computed = matrix(self._kernel, _take(self._examples, index), self._examples)
            self.rows = _place(self.rows, computed, into)
            self._settle(missing[part], slots[part])
        self.num_computed += len(missing)

    def slots(self, examples: np.ndarray) -> np.ndarray:
        """Where the rows of examples are; what is not held is somewhere."""
        return np.maximum(self._slot_of[examples], 0)

    def _make_room(self, count: int) -> np.ndarray:
        """Slots for so many rows: empty ones, then those that were not used for longest."""
        slots = np.argsort(self._used_at, kind="stable")[:count]
        leaving = self._example_in[slots]
        self._slot_of[leaving[leaving >= 0]] = -1
        return slots

    def _settle(self, examples: np.ndarray, slots: np.ndarray) -> None:
        self._slot_of[examples] = slots
        self._example_in[slots] = examples
        self._used_at[slots] = self._now


def _blocks(count: int) -> list[int]:
    """Sizes of blocks that hold so many rows together."""
    sizes = []
    for size in BLOCKS:
        sizes += [size] * (count // size)
        count %= size
    return sizes + [BLOCKS[-1]] * (count > 0)


@jax.jit
def _take(examples: Array, index: Array) -> Array:
    return examples[index]


@partial(jax.jit, donate_argnums=0)
def _place(rows: Array, computed: Array, into: Array) -> Array:
    return rows.at[into].set(computed.reshape(len(into), *rows.shape[1:]))
