"""Rows of a kernel matrix, computed when they are needed and kept within a budget of memory."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.errors import InputError
from jaxml.svm.kernels import Kernel, NamedKernel, bind, inner_products, squared_norms
from jaxml.types import Array

# Beyond this size the C library asks for fresh pages each time, whose zeroing takes long:
# 512 rows of 20,480 columns take 116 ms, two times 256 of them 86 ms.
_MOST_BYTES = {"cpu": 2**25, "other": 2**28}


class KernelCache:
    """Rows of the kernel of examples with all of them, the least recently used making room.

    Attributes:
      rows: `[slots, columns]`; the columns are the examples.
      num_slots: how many rows there is room for.
      num_computed: how many rows were computed so far, again and again counted.
    """

    def __init__(self, kernel: Kernel, examples: Array, *, memory: float, least: int) -> None:
        """Allocates the cache.

        Args:
          kernel: of two sets of examples.
          examples: `[columns, features]`, or `[columns, columns]` their kernel itself where
            `kernel` is `precomputed`.
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
        self._norms = squared_norms(examples) if isinstance(self._kernel, NamedKernel) else None
        self._blocks = block_sizes(row_bytes)
        # One more, into which the filling of the last block of rows goes.
        self.rows = jnp.zeros((self.num_slots + 1, count), examples.dtype)
        self._slot_of = np.full(count, -1, np.int32)
        self._example_in = np.full(self.num_slots, -1, np.int64)
        self._used_at = np.full(self.num_slots, -1, np.int64)
        self._now = 0

    def hold(self, examples: np.ndarray, likely: np.ndarray | None = None) -> None:
        """Computes those rows that are missing; at most `num_slots` different ones.

        Args:
          examples: any number.
          likely: others, which may be needed next: they fill the last block of rows.
        """
        self._now += 1
        needed = np.unique(examples)
        held = self._slot_of[needed]
        self._used_at[held[held >= 0]] = self._now
        missing = needed[held < 0]
        if likely is not None:
            room = min(-len(missing) % self._blocks[-1], self.num_slots - len(needed))
            others = np.setdiff1d(likely, needed)
            others = others[self._slot_of[others] < 0]
            missing = np.concatenate([missing, others[:room]])
        slots = self._make_room(len(missing))
        start = 0
        for size in split(len(missing), self._blocks):
            part = slice(start, start + size)
            start += size
            index = np.zeros(size, np.int32)
            into = np.full(size, self.num_slots, np.int32)
            index[: len(missing[part])] = missing[part]
            into[: len(missing[part])] = slots[part]
            self._fill(index, into)
            self._settle(missing[part], slots[part])
        self.num_computed += len(missing)

    def _fill(self, index: np.ndarray, into: np.ndarray) -> None:
        """Computes the rows of examples into slots."""
        chosen = _take(self._examples, index)
        if self._norms is None:
            self.rows = _place(self.rows, self._kernel, chosen, self._examples, into)
        else:
            products = inner_products(chosen, self._examples)
            self.rows = _place_of(self.rows, self._kernel, products, self._norms, index, into)

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


def block_sizes(row_bytes: int) -> tuple[int, ...]:
    """How many rows are computed at once: few sizes, so that few programs are compiled.

    Args:
      row_bytes: of one row.

    Returns:
      Two sizes, the larger first; the smaller serves the last rows, too.
    """
    most = _MOST_BYTES.get(jax.default_backend(), _MOST_BYTES["other"])
    largest = 2 ** int(np.log2(np.clip((most - 1) // row_bytes, 64, 1024)))
    return largest, largest // 4


def split(count: int, blocks: tuple[int, ...]) -> list[int]:
    """Sizes of blocks that hold so many rows together."""
    sizes = []
    for size in blocks:
        sizes += [size] * (count // size)
        count %= size
    return sizes + [blocks[-1]] * (count > 0)


@jax.jit
def _take(examples: Array, index: Array) -> Array:
    return examples[index]


@partial(jax.jit, donate_argnums=0)
def _place(rows: Array, kernel: Kernel, chosen: Array, examples: Array, into: Array) -> Array:
    return rows.at[into].set(kernel(chosen, examples))


@partial(jax.jit, donate_argnums=0)
def _place_of(
    rows: Array, kernel: NamedKernel, products: Array, norms: Array, index: Array, into: Array
) -> Array:
    """The function of the products: row by row on CPU, so that it takes 4 ms in the place of 15."""

    def row(i: Array, rows: Array) -> Array:
        product = jax.lax.dynamic_index_in_dim(products, i)
        found = kernel.of_products(product, norms[index[i]][None], norms)
        return jax.lax.dynamic_update_index_in_dim(rows, found[0], into[i], 0)

    def one_by_one(rows: Array) -> Array:
        return jax.lax.fori_loop(0, len(into), row, rows)

    def at_once(rows: Array) -> Array:
        return rows.at[into].set(kernel.of_products(products, norms[index], norms))

    return jax.lax.platform_dependent(rows, cpu=one_by_one, default=at_once)
