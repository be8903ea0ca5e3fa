"""Readers of data sets, selected by name. They read files, and download nothing.

`DATASETS` maps the names of published sets to functions that load a whole set into memory.
`SOURCES` maps the names of formats to functions that list the examples of a set, whose images are
then read one by one (see `table`):

- `folder`: a folder of images for each class, `train/cat/1.jpg`.
- `list`: `train.csv`, `train.tsv` or `train.jsonl` with paths and labels.
- `tar`: WebDataset shards `train-00000.tar`.
- `tfrecord`, `array_record`: shards of `tf.train.Example`, `train.tfrecord-00000-of-00002`.
- `parquet`: `train-00000-of-00001.parquet` as Hugging Face's `datasets` writes them.
- `arrays`: `train.npz`, or `train_images.npy` and `train_labels.npy`.
- `sample_images`: two photos that ship with scikit-learn.

`classes.json` next to tar, tfrecord and array_record shards may hold the names of the classes, a
JSON list in the order of their numbers.

`val` or `test` in place of `train` is the split that is evaluated. Files with other names are one
set, of which a part is held out.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from jaxml.data._dataset import Dataset
from jaxml.data.sources import (
    array_record,
    arrays,
    cifar,
    digits,
    folder,
    idx,
    lists,
    parquet,
    sample_images,
    table,
    tabular,
    tar,
    tfrecord,
)

__all__ = [
    "DATASETS",
    "SOURCES",
    "array_record",
    "arrays",
    "cifar",
    "digits",
    "folder",
    "idx",
    "lists",
    "parquet",
    "sample_images",
    "table",
    "tabular",
    "tar",
    "tfrecord",
]

DATASETS: Mapping[str, Callable[[Path], Dataset]] = {
    "digits": digits.load,
    "diabetes": tabular.load_diabetes,
    "breast_cancer": tabular.load_breast_cancer,
    "mnist": idx.load,
    "fashion_mnist": idx.load,
    "idx": idx.load,
    "cifar10": cifar.load_cifar10,
    "cifar100": cifar.load_cifar100,
}

SOURCES: Mapping[str, table.Source] = {
    "folder": folder.list_examples,
    "list": lists.list_examples,
    "tar": tar.list_examples,
    "tfrecord": tfrecord.list_examples,
    "array_record": array_record.list_examples,
    "parquet": parquet.list_examples,
    "arrays": arrays.list_examples,
    "sample_images": sample_images.list_examples,
}
