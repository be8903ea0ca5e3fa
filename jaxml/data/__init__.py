"""Data sets, the order in which training visits them, and augmentation.

- `sources`: readers of data sets; `DATASETS` maps a name to a function `(directory) -> Dataset`.
- `pipeline`: the data order and the batches, pure functions of the seed and the step.
- `augment`: random transformations of a batch of images, on the device.
"""

from jaxml.data import augment, pipeline, sources
from jaxml.data._dataset import Dataset, Split
from jaxml.data._digest import digests
from jaxml.data.sources import DATASETS

__all__ = ["DATASETS", "Dataset", "Split", "augment", "digests", "pipeline", "sources"]
