"""Groups of columns hold every example once and have few sizes."""

import numpy as np
import pytest

from jaxml.svm import reductions
from jaxml.svm.kernel import padded_size, single_group
from jaxml.svm.kernel._column_groups import group_by_class, groups_of_pairs


@pytest.mark.parametrize("count", [1, 32, 33, 1000, 1024, 1025, 20_000, 60_000])
def test_sizes_are_few_and_not_much_larger(count):
    size = padded_size(count)
    assert size >= count
    assert size <= max(32, 2 * count)
    assert size <= count + 256 or count <= 1024
    assert size.bit_length() == 1 + (size - 1).bit_length() or size % 256 == 0


def test_a_single_group_holds_every_example_once():
    columns = single_group(150)
    assert columns.index.shape == (1, 256)
    np.testing.assert_array_equal(columns.index[columns.index >= 0], np.arange(150))
    assert (columns.examples[150:] == 0).all()


@pytest.mark.parametrize("counts", [(40, 40, 40), (2, 300, 5), (1, 1, 1, 2000)])
def test_every_example_is_in_a_group_of_its_class(counts):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    columns = group_by_class(labels, len(counts))
    held = columns.index >= 0
    np.testing.assert_array_equal(np.sort(columns.index[held]), np.arange(len(labels)))
    owner = np.broadcast_to(columns.owner[:, None], held.shape)
    np.testing.assert_array_equal(labels[columns.index[held]], owner[held])
    assert columns.index.size <= 2 * padded_size(len(labels)) + padded_size(len(labels))


@pytest.mark.parametrize("counts", [(40, 40, 40), (2, 300, 5), (1, 1, 1, 2000)])
def test_each_group_starts_at_its_examples_and_ends_within_the_columns(counts):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    columns = group_by_class(labels, len(counts))
    seen = columns.starts[:, None] + np.arange(columns.index.shape[1])
    assert seen.max() < len(columns.examples)
    held = columns.index >= 0
    np.testing.assert_array_equal(columns.examples[seen[held]], columns.index[held])
    assert len(columns.examples) <= padded_size(len(labels) + columns.index.shape[1])


def test_each_pair_sees_the_groups_of_its_classes_and_else_none_of_them():
    columns = group_by_class(np.repeat(np.arange(3), (2, 300, 5)), 3)
    pairs = reductions.pairs(3)
    for pair, groups in zip(pairs, groups_of_pairs(columns, pairs), strict=True):
        owner = columns.owner[groups]
        mine = groups[np.isin(owner, pair)]
        np.testing.assert_array_equal(mine, np.flatnonzero(np.isin(columns.owner, pair)))
