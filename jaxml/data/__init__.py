"""Data sets, the order in which training visits them, and augmentation.

- `sources`: readers of data sets, selected by name: `DATASETS` are loaded as a whole, the images of
  `SOURCES` are decoded during training.
- `inputs`: examples without labels, for prediction.
- `corruptions`: noise, blur and the like at five severities, to measure robustness.
- `decode`: decoding, cropping and resizing of images on the host.
- `pipeline`: the data order and the batches, pure functions of the seed and the step.
- `stream`: batches of sets that do not fit into memory, decoded by threads.
- `augment`: random transformations of a batch of images, on the device.
"""

from jaxml.data import augment, corruptions, decode, inputs, pipeline, sources, stream
from jaxml.data._dataset import Dataset, Split, StreamedDataset, StreamedSplit
from jaxml.data._digest import digests
from jaxml.data._images import Images
from jaxml.data._load import fitting_sample, load_dataset, num_workers
from jaxml.data.sources import DATASETS, SOURCES

__all__ = [
    "DATASETS",
    "SOURCES",
    "Dataset",
    "Images",
    "Split",
    "StreamedDataset",
    "StreamedSplit",
    "augment",
    "corruptions",
    "decode",
    "digests",
    "fitting_sample",
    "inputs",
    "load_dataset",
    "num_workers",
    "pipeline",
    "sources",
    "stream",
]
