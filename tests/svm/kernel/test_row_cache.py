"""Rows of a kernel matrix are correct, and computed once while they fit."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.errors import InputError
from jaxml.svm.kernel._row_cache import RowCache, _block_sizes, _split
from jaxml.svm.kernels import bind, precomputed

COUNT = 96
EXAMPLES = jnp.asarray(np.random.default_rng(0).normal(size=(COUNT, 8)), jnp.float32)
KERNEL = bind("rbf", gamma=0.1)


def cache(slots, least=4):
    return RowCache(KERNEL, EXAMPLES, memory=float(slots * COUNT * 4), least=least)


def held(made, examples):
    return np.asarray(made.rows)[made.slots(examples)]


def test_rows_are_those_of_the_kernel_whatever_was_asked_before():
    made, whole = cache(20), np.asarray(KERNEL(EXAMPLES, EXAMPLES))
    rng = np.random.default_rng(1)
    for _ in range(30):
        wanted = rng.integers(COUNT, size=20)
        made.hold(wanted)
        np.testing.assert_allclose(held(made, wanted), whole[wanted], atol=1e-6)


def test_what_is_held_is_not_computed_again():
    made = cache(20)
    made.hold(np.arange(10))
    made.hold(np.array([3, 3, 5, 12]))
    assert made.num_computed == 11


def test_the_least_recently_used_make_room():
    made = cache(20)
    made.hold(np.arange(10))
    made.hold(np.arange(10, 20))
    made.hold(np.arange(10))  # used again
    made.hold(np.arange(20, 30))
    made.hold(np.arange(10))
    assert made.num_computed == 30
    made.hold(np.arange(10, 20))
    assert made.num_computed == 40


def test_there_are_never_more_slots_than_examples():
    assert cache(10 * COUNT).num_slots == COUNT


def test_a_matrix_in_the_place_of_examples():
    matrix = KERNEL(EXAMPLES, EXAMPLES)
    made = RowCache(precomputed, matrix, memory=1e9, least=4)
    made.hold(np.array([7, 2]))
    np.testing.assert_array_equal(held(made, np.array([2, 7])), np.asarray(matrix)[[2, 7]])


@pytest.mark.parametrize("count", [0, 1, 64, 65, 300, 1500, 5000])
@pytest.mark.parametrize("row_bytes", [4, 80_000, 10**9])
def test_blocks_hold_all_and_are_of_few_sizes(count, row_bytes):
    sizes = _block_sizes(row_bytes)
    blocks = [part.stop - part.start for part in _split(count, sizes)]
    assert len(sizes) == 2
    assert sizes[0] > sizes[1]
    assert count <= sum(blocks) < count + sizes[-1]
    assert set(blocks) <= set(sizes)


def test_prefetch_candidates_fill_the_last_block():
    made = cache(COUNT)
    made.hold(np.array([3, 5]), candidates=np.array([5, 7]))
    assert made.num_computed == 3
    rows = held(made, np.array([3, 5, 7]))
    np.testing.assert_array_equal(rows, KERNEL(EXAMPLES, EXAMPLES)[np.array([3, 5, 7])])
    made.hold(np.array([7]))
    assert made.num_computed == 3


def test_prefetch_candidates_never_take_a_slot_of_needed_rows():
    made = cache(2, least=2)
    made.hold(np.array([3, 5]), candidates=np.array([7, 9]))
    assert made.num_computed == 2
    np.testing.assert_array_equal(
        held(made, np.array([3, 5])), KERNEL(EXAMPLES, EXAMPLES)[np.array([3, 5])]
    )


def test_too_little_memory_is_an_error():
    message = "`cache_size` must be at least 0.0234 MiB to hold a working set of 64 rows, got "
    with pytest.raises(InputError, match=message):
        cache(20, least=64)
