"""Pipelines that read, decode, crop and batch images: that of jaxml, and torch's DataLoader."""

import functools
import importlib.metadata
import math
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from launch.benchmark.task import Operation, Prepared, cores

OURS, CONVERTED, TORCH, TORCH_UINT8 = "jaxml", "jaxml_converted", "torch", "torch_uint8"
NAMES = (OURS, CONVERTED, TORCH, TORCH_UINT8)
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
SMALLEST = 0.08  # area of a crop


class Input(NamedTuple):
    """The images of the benchmark, and how they are delivered.

    Attributes:
      files: paths of the images, which are repeated.
      images: number of images of a pass.
      batch_size: images in a batch.
      size: height and width of the random resized crops.
      workers: number of threads or processes.
      max_side: see `python -m launch.convert`.
    """

    files: tuple[str, ...]
    images: int
    batch_size: int
    size: int
    workers: int
    max_side: int


def prepare(name: str, task: Input) -> Prepared:
    """Prepares a pipeline, one of `NAMES`; call it in its own process."""
    run = _prepare_torch(task, name == TORCH) if name.startswith(TORCH) else _prepare(name, task)
    package = "torch" if name.startswith(TORCH) else "simplejpeg"
    versions = {each: importlib.metadata.version(each) for each in ("pillow", package)}
    return Prepared({"input": Operation(run)}, f"{cores()} cores", versions)


def _prepare(name: str, task: Input) -> Callable[[], None]:
    """Prepares the streaming pipeline of jaxml, of the files or of a shard of reduced images."""
    from jaxml.data import Images, StreamedSplit, stream
    from jaxml.data._images import Damage, Preparation
    from jaxml.data.shards import Encoded, encode, write_shard
    from jaxml.data.sources import SOURCES
    from jaxml.data.sources.table import Columns, Records, Table

    files = [Path(file) for file in task.files]
    labels = np.arange(len(files), dtype=np.int32)
    folder = tempfile.TemporaryDirectory()
    records: Records | None = Records(task.files, labels, lambda index: files[index].read_bytes())
    if name == CONVERTED:
        shard = Path(folder.name, "train-00000.tar")
        encoded = (encode(file.read_bytes(), max_side=task.max_side) for file in files)
        write_shard(shard, [Encoded(image, str(label)) for label, image in enumerate(encoded)])
        records = SOURCES["tar"](shard, (), Columns())
        assert records is not None
    table = Table(records, labels, np.arange(task.images) % len(files))
    preparation = Preparation((task.size, task.size), smallest_crop=SMALLEST)
    images = Images(table, preparation, Damage(0), (task.size, task.size, 3))
    split = StreamedSplit(images, labels[table.rows])
    epoch = 0

    def run() -> None:
        nonlocal epoch
        order = np.random.default_rng(epoch).permutation(task.images)
        draws = stream.draw_steps(
            lambda _: order,
            range(epoch * _steps(task), (epoch + 1) * _steps(task)),
            steps_per_epoch=_steps(task),
            batch_size=task.batch_size,
            part=slice(None),
        )
        for _ in stream.stream(split, draws, workers=task.workers):
            pass
        epoch += 1

    run.folder = folder  # type: ignore[attr-defined]  # exists as long as the function
    return run


def _prepare_torch(task: Input, normalize: bool) -> Callable[[], None]:
    import torch

    loader = torch.utils.data.DataLoader(
        TorchPhotos(task, normalize),  # type: ignore[arg-type]
        task.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=task.workers,
        persistent_workers=task.workers > 0,
    )

    def run() -> None:
        for _ in loader:
            pass

    return run


class TorchPhotos:
    """A data set for a DataLoader, with Pillow and the transforms of torchvision's reference.

    Args:
      task: the images.
      normalize: whether images are normalized float32 tensors, as in torchvision's training script,
        rather than uint8 tensors.
    """

    def __init__(self, task: Input, normalize: bool) -> None:
        self.task = task
        self.normalize = normalize

    def __len__(self) -> int:
        return self.task.images

    def __getitem__(self, index: int) -> tuple[Any, int]:
        import torch
        from PIL import Image

        number = index % len(self.task.files)
        with Image.open(self.task.files[number]) as file:
            image = file.convert("RGB")
        box = _random_box(image.width, image.height)
        size = (self.task.size, self.task.size)
        image = image.crop(box).resize(size, Image.Resampling.BILINEAR)
        if random.random() < 0.5:  # noqa: S311
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        if self.normalize:
            mean, deviation = _statistics()
            tensor = tensor.to(torch.float32).div(255).sub_(mean).div_(deviation)
        return tensor, number


@functools.cache
def _statistics() -> tuple[Any, Any]:
    import torch

    values = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    mean, deviation = (torch.tensor(channels).view(3, 1, 1) for channels in values)
    return mean, deviation


def _random_box(width: int, height: int) -> tuple[int, int, int, int]:
    """Draws a crop as torchvision's `RandomResizedCrop` does."""
    for _ in range(10):
        area = width * height * random.uniform(SMALLEST, 1)  # noqa: S311
        ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))  # noqa: S311
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left = random.randint(0, width - w)  # noqa: S311
            top = random.randint(0, height - h)  # noqa: S311
            return left, top, left + w, top + h
    return 0, 0, width, height


def _steps(task: Input) -> int:
    return task.images // task.batch_size
