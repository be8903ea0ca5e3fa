"""CIFAR-10 through every format: `JAXML_DATA=DIR pytest tests/data/test_stream_cifar.py --large`.

The folder contains `cifar-10-python.tar.gz`.
"""

import os
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.config import DataConfig
from jaxml.data import Dataset, StreamedDataset, load_dataset, pipeline, stream
from tests.data.sources import formats

pytestmark = pytest.mark.large

BATCH = 125  # divides the number of images
STEPS = 400  # of an epoch
CLASS_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
)  # fmt: skip


@pytest.fixture(scope="module")
def cifar():
    """The training images, sorted by class as in the folders."""
    folder = os.environ.get("JAXML_DATA")
    if not folder:
        pytest.skip("the environment variable JAXML_DATA does not name a folder with CIFAR-10")
    dataset = load_dataset(DataConfig(name="cifar10", dir=folder))
    assert isinstance(dataset, Dataset)
    order = np.argsort(dataset.train.targets, kind="stable")
    return formats.Examples(dataset.train.inputs[order], dataset.train.targets[order])


@pytest.fixture(scope="module")
def order():
    of_epoch = partial(pipeline.epoch_order, jax.random.key(0), size=STEPS * BATCH)
    return lambda epoch: np.asarray(of_epoch(jnp.int32(epoch)))


def _write(place: Path, kind: str, cifar: formats.Examples):
    crc32c = pytest.importorskip("google_crc32c")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "CLASS_NAMES", CLASS_NAMES)
        patch.setattr(formats, "crc32c", crc32c.value)
        name, write = formats.WRITERS[kind]
        write(place, "train", cifar)
        few = slice(0, 50_000, 5000)
        write(place, "val", formats.Examples(cifar.images[few], cifar.labels[few]))
    dataset = load_dataset(DataConfig(name=name, dir=str(place), max_damaged=0))
    assert isinstance(dataset, StreamedDataset)
    return dataset.train


@pytest.mark.parametrize("kind", sorted(formats.WRITERS.keys() - {"npy"}))
def test_every_format_gives_the_same_global_batches(kind, cifar, order, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "set"
    place.mkdir()
    split = _write(place, kind, cifar)

    def read(steps, workers, part=slice(None)):
        draws = stream.draw_steps(order, steps, steps_per_epoch=STEPS, batch_size=BATCH, part=part)
        return stream.stream(split, draws, workers=workers)

    def check(steps, workers, part=slice(None)):
        for step, (images, labels) in zip(steps, read(steps, workers, part), strict=True):
            epoch, index = divmod(step, STEPS)
            chosen = order(epoch)[index * BATCH :][:BATCH][part]
            np.testing.assert_array_equal(images, cifar.images[chosen], strict=True)
            np.testing.assert_array_equal(labels, cifar.labels[chosen])

    for workers in (0, 1, 2, 3, 5):
        check(range(10), workers)
    check(range(4, 10), 2)  # resumed
    check(range(STEPS - 2, STEPS + 3), 3)  # in the next epoch
    for num_hosts in (2, 3, 5):
        for host in range(num_hosts):
            part = slice(BATCH * host // num_hosts, BATCH * (host + 1) // num_hosts)
            check(range(10), 2, part)
    assert sorted(order(0)) == list(range(STEPS * BATCH))
    check(range(STEPS), 4)  # a whole epoch, so every image once
