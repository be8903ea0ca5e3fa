"""Groups of columns: every row once, few sizes."""

import numpy as np
import pytest

from jaxml.svm import reductions
from jaxml.svm.kernel.columns import by_class, groups_of_pairs, padded_size, together


@pytest.mark.parametrize("count", [1, 32, 33, 1000, 1024, 1025, 20_000, 60_000])
def test_sizes_are_few_and_not_much_larger(count):
    size = padded_size(count)
    assert size >= count
    assert size <= max(32, 2 * count)
    assert size <= count + 256 or count <= 1024
    assert size.bit_length() == 1 + (size - 1).bit_length() or size % 256 == 0


def test_together_holds_every_row_once():
    columns = together(150)
    assert columns.index.shape == (1, 256)
    np.testing.assert_array_equal(columns.index[columns.index >= 0], np.arange(150))
    assert (columns.rows[150:] == 0).all()


@pytest.mark.parametrize("counts", [(40, 40, 40), (2, 300, 5), (1, 1, 1, 2000)])
def test_by_class_holds_every_row_in_a_group_of_its_class(counts):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    columns = by_class(labels, len(counts))
    held = columns.index >= 0
    np.testing.assert_array_equal(np.sort(columns.index[held]), np.arange(len(labels)))
    owner = np.broadcast_to(columns.owner[:, None], held.shape)
    np.testing.assert_array_equal(labels[columns.index[held]], owner[held])
    assert columns.index.size <= 2 * padded_size(len(labels)) + padded_size(len(labels))


@pytest.mark.parametrize("counts", [(40, 40, 40), (2, 300, 5), (1, 1, 1, 2000)])
def test_each_group_begins_where_its_rows_stand_and_ends_within_the_columns(counts):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    columns = by_class(labels, len(counts))
    seen = columns.starts[:, None] + np.arange(columns.index.shape[1])
    assert seen.max() < len(columns.rows)
    held = columns.index >= 0
    np.testing.assert_array_equal(columns.rows[seen[held]], columns.index[held])
    assert len(columns.rows) <= padded_size(len(labels) + columns.index.shape[1])


def test_each_pair_sees_the_groups_of_its_classes_and_else_none_of_them():
    columns = by_class(np.repeat(np.arange(3), (2, 300, 5)), 3)
    pairs = reductions.pairs(3)
    for pair, groups in zip(pairs, groups_of_pairs(columns, pairs), strict=True):
        owner = columns.owner[groups]
        mine = groups[np.isin(owner, pair)]
        np.testing.assert_array_equal(mine, np.flatnonzero(np.isin(columns.owner, pair)))
