"""Digests of a data set, to detect that it changed between the start of a run and resuming it."""

import hashlib

import numpy as np

from jaxml.data._dataset import Dataset, StreamedDataset
from jaxml.data._images import Images

_SAMPLE_BYTES = 2**28  # of a larger array, a sample is digested, in less than a second
_BLOCKS = 1024


def digests(dataset: Dataset | StreamedDataset) -> dict[str, str]:
    """Returns the dtype, the shape and a digest of each array of a data set.

    Of arrays larger than 256 MiB, 1,024 evenly spaced blocks are digested; of
    images that are decoded when they are read, the names and labels are.

    Returns:
      Strings such as `"uint8[60000,28,28,1] 9e107d9d372bb682"`, by the name of the array.

    Example:
      >>> from jaxml.data import Split
      >>> split = Split(np.zeros((2, 3), np.float32), np.zeros(2, np.int32))
      >>> sorted(digests(Dataset(split, split, num_classes=1)))
      ['number of classes', 'test inputs', 'test targets', 'training inputs', 'training targets']
    """
    arrays = {
        f"{split} {name}": array
        for split, examples in (("training", dataset.train), (dataset.test_name, dataset.test))
        for name, array in examples._asdict().items()
    }
    described = {name: _describe(array) for name, array in arrays.items()}
    return described | {"number of classes": str(dataset.num_classes)}


def _describe(array: np.ndarray | Images) -> str:
    shape = ",".join(map(str, array.shape))
    if isinstance(array, Images):
        digest = array.table.digest()
    else:
        digest = _digest(np.ascontiguousarray(array))
    return f"{array.dtype}[{shape}] {digest[:16]}"


def _digest(array: np.ndarray) -> str:
    content = array.reshape(-1).view(np.uint8)
    digest = hashlib.sha256()
    if len(content) <= _SAMPLE_BYTES:
        digest.update(content.data)
    else:
        size = _SAMPLE_BYTES // _BLOCKS
        for start in np.linspace(0, len(content) - size, _BLOCKS).astype(np.int64):
            digest.update(content[start : start + size].data)
    return digest.hexdigest()
