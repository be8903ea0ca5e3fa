"""Small settings and sets that the tests of a run share."""

import dataclasses
import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np

from jaxml.config import Config, DataConfig, LogConfig, ModelConfig, OptimConfig


def config(**changes: Any) -> Config:
    """A tiny network on the digits: 4 epochs of 3 steps, without a report, which takes seconds."""
    settings = Config(
        batch_size=478,
        num_epochs=4,
        eval_batch_size=200,
        model=ModelConfig(name="resnet_tiny"),
        data=DataConfig(name="digits", augment=("crop:padding=1",)),
        optim=OptimConfig(learning_rate=0.05, schedule="cosine"),
        log=LogConfig(report=False),
    )
    return dataclasses.replace(settings, **changes)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Writes an array as a gzipped IDX file."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=1))


def write_set(folder: Path, *, train: int, test: int, size: int = 4) -> None:
    """Writes an IDX set of random images in 10 classes."""
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", train), ("t10k", test)):
        images = generator.integers(0, 256, (count, size, size), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", labels)
