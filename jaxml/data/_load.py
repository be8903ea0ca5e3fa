"""Loads the data set that a config names."""

import os

import numpy as np

from jaxml.config import DataConfig, user_path
from jaxml.data import stream
from jaxml.data._dataset import Dataset, StreamedDataset, StreamedSplit
from jaxml.data._images import Damage, Images, Preparation, read_image
from jaxml.data.sources import DATASETS, SOURCES
from jaxml.data.sources.table import Columns, Table, create_tables
from jaxml.errors import InputError, choose

_DEFAULT_FRACTION = 0.1  # held out of a set without splits


def load_dataset(config: DataConfig, *, seed: int = 0) -> Dataset | StreamedDataset:
    """Loads the data set that a config names, or lists its images to decode them during training.

    Args:
      config: the data part of a config.
      seed: seed of the random crops.

    Returns:
      The data set, without `config.validation_size`.

    Raises:
      InputError: a setting or file is wrong.
    """
    known = {**DATASETS, **SOURCES}
    choose(known, config.name, "config.data.name")
    if config.name in DATASETS:
        _check_unused(config)
        return DATASETS[config.name](user_path(config.dir))
    if config.validation_size:
        raise InputError(
            f"config.data.validation_size must be 0 for {config.name}, which has "
            f"config.data.validation_fraction instead, got {config.validation_size}"
        )
    train, test, name, class_names = _create_splits(config)
    if config.train_image_size and not config.image_size:
        raise InputError(
            "config.data.train_image_size must be None unless config.data.image_size is set, "
            f"got {config.train_image_size}"
        )
    size, train_size = map(_square, (config.image_size, config.train_image_size))
    plain = Preparation(size, config.center_fraction)
    cropped = Preparation(train_size or size, config.center_fraction, config.smallest_crop, seed)
    damage = Damage(config.max_damaged)
    shape = read_image(train, plain, damage, 0)[0].shape
    train_images = Images(train, cropped, damage, (*(train_size or shape[:2]), shape[2]))
    if size is None:
        train_images.sample(8)  # reports images of several sizes before the run starts
    test_images = Images(test, plain, damage, shape)
    streamed = StreamedDataset(
        StreamedSplit(train_images, train.labels[train.rows]),
        StreamedSplit(test_images, test.labels[test.rows]),
        len(class_names),
        name,
        class_names,
        damage,
    )
    if config.stream:
        return streamed
    workers = num_workers(config)
    loaded, test_loaded = (stream.load(s, workers=workers) for s in (streamed.train, streamed.test))
    return Dataset(loaded, test_loaded, len(class_names), name, class_names)


def _square(size: int | None) -> tuple[int, int] | None:
    return (size, size) if size else None


def num_workers(config: DataConfig) -> int:
    """Returns the number of threads that decode images."""
    if config.workers is not None:
        return config.workers
    available = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    return len(available(0))


def _create_splits(config: DataConfig) -> tuple[Table, Table, str, tuple[str, ...]]:
    """Returns the training and the evaluation split, the name of the latter, and the classes."""
    directory = user_path(config.dir)
    columns = Columns(config.image_column, config.label_column)
    tables, class_names = create_tables(SOURCES[config.name], directory, columns)
    train, fraction = tables["train"], config.validation_fraction
    wanted = ("val", "test") if config.eval_split is None else (config.eval_split,)
    name = next((name for name in wanted if name in tables), None)
    if fraction is None:
        fraction = _DEFAULT_FRACTION if len(tables) == 1 else 0.0
    if fraction:
        rest, held_out = train.split(fraction, config.split_seed)
        if not len(held_out):
            raise InputError(
                "config.data.validation_fraction must leave an example of some class for "
                f"evaluation, got {fraction} of {len(train)} examples"
            )
        return rest, held_out, "validation", class_names
    if name is None and len(tables) == 1:
        raise InputError(
            "config.data.validation_fraction must not be 0 for a set without val and test splits"
        )
    if name is None:
        raise InputError(
            f"config.data.eval_split must be a split of {str(directory)!r}, which has "
            f"{', '.join(tables)}, got {config.eval_split!r}"
        )
    names = {"val": "validation", "test": "test"}
    return train, tables[name], names[name], class_names


def _check_unused(config: DataConfig) -> None:
    """Checks that a set that is an array has no settings for images in files."""
    defaults = DataConfig()
    for name in (
        "image_size",
        "train_image_size",
        "smallest_crop",
        "validation_fraction",
        "eval_split",
    ):
        if (value := getattr(config, name)) != getattr(defaults, name):
            raise InputError(
                f"config.data.{name} must be {getattr(defaults, name)} for {config.name}, "
                f"got {value!r}"
            )


def fitting_sample(inputs: np.ndarray | Images) -> np.ndarray:
    """Returns the examples on which a normalizer is fitted."""
    return inputs if isinstance(inputs, np.ndarray) else inputs.sample(1024)
