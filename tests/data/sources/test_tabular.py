"""The embedded tables beside scikit-learn's own loaders."""

from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets

from jaxml.data import DATASETS


@pytest.mark.parametrize(
    ("name", "published", "sizes", "num_classes"),
    [
        ("diabetes", datasets.load_diabetes(scaled=False), (354, 88, 10), 0),
        ("breast_cancer", datasets.load_breast_cancer(), (456, 113, 30), 2),
    ],
)
def test_every_row_is_there_once(name, published, sizes, num_classes):
    dataset = DATASETS[name](Path())
    train, test = dataset.train, dataset.test
    assert (len(train.targets), len(test.targets), train.inputs.shape[1]) == sizes
    assert dataset.num_classes == num_classes
    assert {part.inputs.dtype for part in (train, test)} == {np.dtype(np.float32)}
    assert train.targets.dtype == (np.int32 if num_classes else np.float32)
    rows = np.column_stack([published.data, published.target]).astype(np.float32)
    np.testing.assert_array_equal(
        np.column_stack([test.inputs, test.targets.astype(np.float32)]), rows[4::5]
    )
    both = np.column_stack(
        [
            np.concatenate([train.inputs, test.inputs]),
            np.concatenate([train.targets, test.targets]).astype(np.float32),
        ]
    )
    np.testing.assert_array_equal(np.unique(both, axis=0), np.unique(rows, axis=0))
