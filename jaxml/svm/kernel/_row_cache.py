"""Cache of the rows of a kernel matrix, within a memory budget."""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.errors import InputError
from jaxml.svm.kernels import Kernel, NamedKernel, bind, inner_products, squared_norms
from jaxml.types import Array

# Beyond this size the C library requests new pages each time, and zeroing them is slow:
# 512 rows of 20,480 columns take 116 ms, twice 256 rows 86 ms.
_MAX_BYTES = {"cpu": 2**25, "other": 2**28}


class RowCache:
    """Rows `[slots, columns]` of the kernel matrix of examples.

    The least recently used of the `num_slots` that fit are replaced first. `num_computed` rows have
    been computed so far.
    """

    def __init__(self, kernel: Kernel, examples: Array, *, memory: float, least: int) -> None:
        """Allocates `memory` bytes; raises `InputError` if these do not hold `least` rows."""
        count = len(examples)
        row_bytes = count * examples.dtype.itemsize
        self.num_slots = min(count, int(memory // row_bytes))
        if self.num_slots < min(least, count):
            need = min(least, count) * row_bytes / 2**20
            raise InputError(
                f"`cache_size` must be at least {need:.3g} MiB to hold a working set of {least} "
                f"rows, got {memory / 2**20:g}"
            )
        self.num_computed = 0
        self._kernel, self._examples = bind(kernel), examples
        self._norms = squared_norms(examples) if isinstance(self._kernel, NamedKernel) else None
        self._blocks = _block_sizes(row_bytes)
        # The last slot takes the padding of blocks.
        self.rows = jnp.zeros((self.num_slots + 1, count), examples.dtype)
        self._slot_of = np.full(count, -1, np.int32)
        self._example_in = np.full(self.num_slots, -1, np.int64)
        self._used_at = np.full(self.num_slots, -1, np.int64)
        self._now = 0

    def hold(self, examples: np.ndarray, candidates: np.ndarray | None = None) -> None:
        """Computes the missing rows of at most `num_slots` different examples.

        Prefetch candidates fill the last block of rows.
        """
        self._now += 1
        needed = np.unique(examples)
        held = self._slot_of[needed]
        self._used_at[held[held >= 0]] = self._now
        missing = needed[held < 0]
        if candidates is not None:
            room = min(-len(missing) % self._blocks[-1], self.num_slots - len(needed))
            others = np.setdiff1d(candidates, needed)
            others = others[self._slot_of[others] < 0]
            missing = np.concatenate([missing, others[:room]])
        slots = np.argsort(self._used_at, kind="stable")[: len(missing)]
        leaving = self._example_in[slots]
        self._slot_of[leaving[leaving >= 0]] = -1
        for part in _split(len(missing), self._blocks):
            new, into = missing[part], slots[part]
            fill = (0, part.stop - part.start - len(new))
            self._compute(
                np.pad(new.astype(np.int32), fill),
                np.pad(into.astype(np.int32), fill, constant_values=self.num_slots),
            )
            self._slot_of[new], self._example_in[into] = into, new
            self._used_at[into] = self._now
        self.num_computed += len(missing)

    def slots(self, examples: np.ndarray) -> np.ndarray:
        """Returns the slots of examples that are held; arbitrary ones for others."""
        return np.maximum(self._slot_of[examples], 0)

    def _compute(self, index: np.ndarray, into: np.ndarray) -> None:
        chosen = _take(self._examples, index)
        if self._norms is None:
            self.rows = _place(self.rows, self._kernel, chosen, self._examples, into)
        else:
            products = inner_products(chosen, self._examples)
            self.rows = _place_named(self.rows, self._kernel, products, self._norms, index, into)


def _block_sizes(row_bytes: int) -> tuple[int, int]:
    """Returns the sizes of blocks of rows; there are two, so that few programs are compiled."""
    most = _MAX_BYTES.get(jax.default_backend(), _MAX_BYTES["other"])
    largest = 2 ** int(np.log2(np.clip((most - 1) // row_bytes, 64, 1024)))
    return largest, largest // 4


def _split(count: int, sizes: tuple[int, ...]) -> Iterator[slice]:
    """Splits a number of rows into blocks, of which the last may extend beyond the rows."""
    start = 0
    for size in sizes:
        while count - start >= size:
            yield slice(start, start + size)
            start += size
    if start < count:
        yield slice(start, start + sizes[-1])


@jax.jit
def _take(examples: Array, index: Array) -> Array:
    return examples[index]


@partial(jax.jit, donate_argnums=0)
def _place(rows: Array, kernel: Kernel, chosen: Array, examples: Array, into: Array) -> Array:
    return rows.at[into].set(kernel(chosen, examples))


@partial(jax.jit, donate_argnums=0)
def _place_named(
    rows: Array, kernel: NamedKernel, products: Array, norms: Array, index: Array, into: Array
) -> Array:
    """Stores a function of products: on CPU row by row, which takes 4 ms instead of 15."""

    def place_row(i: Array, rows: Array) -> Array:
        product = jax.lax.dynamic_index_in_dim(products, i)
        found = kernel.from_products(product, norms[index[i]][None], norms)
        return jax.lax.dynamic_update_index_in_dim(rows, found[0], into[i], 0)

    def place_each(rows: Array) -> Array:
        return jax.lax.fori_loop(0, len(into), place_row, rows)

    def place_all(rows: Array) -> Array:
        return rows.at[into].set(kernel.from_products(products, norms[index], norms))

    return jax.lax.platform_dependent(rows, cpu=place_each, default=place_all)
