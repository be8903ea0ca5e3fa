"""Digests of data: equal for equal arrays, different for any change, sampled where large."""

import numpy as np
import pytest

from jaxml.data import Dataset, Split
from jaxml.data import _digest as digest


def _dataset(**changes):
    train = Split(np.arange(24, dtype=np.uint8).reshape(6, 2, 2, 1), np.arange(6, dtype=np.int32))
    test = Split(train.inputs[:3] + np.uint8(1), train.targets[:3])
    return Dataset(train, test, num_classes=6)._replace(**changes)


def test_equal_data_have_equal_digests():
    there, here = _dataset(), _dataset()
    assert digest.digests(there) == digest.digests(here)
    strided = np.repeat(here.train.inputs, 2, axis=0)[::2]
    assert digest.digests(_dataset(train=here.train._replace(inputs=strided))) == digest.digests(
        there
    )
    # By sha256sum of the 24 bytes.
    assert digest.digests(here)["training inputs"] == "uint8[6,2,2,1] 1d64add2a6388367"


def test_a_change_is_seen_where_it_is():
    whole = _dataset()
    inputs = whole.train.inputs.copy()
    inputs[3, 1, 0, 0] += 1
    changes = {
        "training inputs": _dataset(train=whole.train._replace(inputs=inputs)),
        "training targets": _dataset(train=whole.train._replace(targets=whole.train.targets[::-1])),
        "test inputs": _dataset(test=whole.test._replace(inputs=whole.test.inputs[:, ::-1])),
        "test targets": _dataset(test=whole.test._replace(targets=np.arange(3, dtype=np.float32))),
        "number of classes": whole._replace(num_classes=7),
    }
    before = digest.digests(whole)
    for name, changed in changes.items():
        after = digest.digests(changed)
        assert {key for key in before if before[key] != after[key]} == {name}


@pytest.mark.parametrize("place", [0, 2000, 5000, 8000, 9900])
def test_a_large_array_is_sampled_over_its_whole_length(monkeypatch, place):
    monkeypatch.setattr(digest, "_SAMPLE_BYTES", 1000)
    monkeypatch.setattr(digest, "_BLOCKS", 10)  # of 100 bytes, 1,100 bytes apart
    arrays = np.zeros((2, 10_000), np.uint8)
    arrays[1, place : place + 1200] = 1
    before, after = (
        digest.digests(Dataset(Split(a, np.zeros(1)), Split(a[:9], np.zeros(1)), 1)) for a in arrays
    )
    assert before["training inputs"] != after["training inputs"]
