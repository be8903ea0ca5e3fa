"""Digests of a data set, which reveal that it changed while a run was stopped."""

import hashlib

import numpy as np

from jaxml.data._dataset import Dataset

SAMPLE_BYTES = 2**28  # a larger array is sampled, so that a digest takes less than a second
BLOCKS = 1024


def digests(dataset: Dataset) -> dict[str, str]:
    """Describes every array of a data set by its dtype, its shape and a digest.

    Arrays of more than 256 MiB are digested in 1,024 blocks at regular intervals.

    Returns:
      A description such as `"uint8[60000,28,28,1] 9e107d9d372bb682"` for each array, by name.

    Example:
      >>> from jaxml.data import Split
      >>> split = Split(np.zeros((2, 3), np.float32), np.zeros(2, np.int32))
      >>> sorted(digests(Dataset(split, split, num_classes=1)))
      ['number of classes', 'test inputs', 'test targets', 'training inputs', 'training targets']
    """
    arrays = {
        f"{split} {name}": array
        for split, examples in (("training", dataset.train), ("test", dataset.test))
        for name, array in examples._asdict().items()
    }
    described = {name: _describe(array) for name, array in arrays.items()}
    return described | {"number of classes": str(dataset.num_classes)}


def _describe(array: np.ndarray) -> str:
    shape = ",".join(map(str, array.shape))
    return f"{array.dtype}[{shape}] {_digest(np.ascontiguousarray(array))[:16]}"


def _digest(array: np.ndarray) -> str:
    content = array.reshape(-1).view(np.uint8)
    digest = hashlib.sha256()
    if len(content) <= SAMPLE_BYTES:
        digest.update(content.data)
    else:
        size = SAMPLE_BYTES // BLOCKS
        for start in np.linspace(0, len(content) - size, BLOCKS).astype(np.int64):
            digest.update(content[start : start + size].data)
    return digest.hexdigest()
