"""Batches that are decoded while training, from every format."""

import threading
import time
from contextlib import closing
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.config import DataConfig
from jaxml.data import Dataset, StreamedDataset, decode, load_dataset, pipeline, stream
from jaxml.data._optional import require
from jaxml.data.stream import Draw
from jaxml.errors import InputError
from tests.data.sources import formats

COUNT, BATCH = 26, 8
ORDER = partial(pipeline.epoch_order, jax.random.key(3), size=COUNT)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def data():
    return formats.examples(COUNT)


def _write(folder, kind, data):
    folder.mkdir()
    name, write = formats.WRITERS[kind]
    write(folder, "train", data)
    write(folder, "val", formats.examples(7, seed=1))
    return DataConfig(name=name, dir=str(folder), max_damaged=0)


def _load(config, *, seed=0):
    dataset = load_dataset(config, seed=seed)
    assert isinstance(dataset, StreamedDataset)
    return dataset


def _order(epoch):
    return np.asarray(ORDER(jnp.int32(epoch)))


def _batches(split, *, workers=2, steps=range(10), part=slice(None), order=_order):
    draws = stream.draw_steps(order, steps, steps_per_epoch=3, batch_size=BATCH, part=part)
    return list(stream.stream(split, draws, workers=workers))


def _assert_equal(batches, expected):
    for batch, wanted in zip(batches, expected, strict=True):
        for array, other in zip(batch, wanted, strict=True):
            np.testing.assert_array_equal(array, other, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", formats.WRITERS)
def test_the_batches_of_every_format_are_those_of_the_arrays_in_memory(kind, data, tmp_path):
    dataset = _load(_write(tmp_path / "set", kind, data))
    expected = []
    for step in range(10):  # more than three epochs
        chosen = _order(step // 3)[step % 3 * BATCH :][:BATCH]
        expected.append((data.images[chosen], data.labels[chosen].astype(np.int32)))
    _assert_equal(_batches(dataset.train), expected)
    test = stream.load(dataset.test, workers=2)
    np.testing.assert_array_equal(test.inputs, formats.examples(7, seed=1).images)
    np.testing.assert_array_equal(test.targets, formats.examples(7, seed=1).labels)
    assert (dataset.num_classes, dataset.test_name) == (3, "validation")
    named = {"folder", "parquet"}
    assert dataset.class_names == (formats.CLASS_NAMES if kind in named else ("0", "1", "2"))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1, 2, 3, 5])
def test_the_batches_do_not_depend_on_the_number_of_workers(workers, data, tmp_path):
    config = _write(tmp_path / "set", "folder", data)
    config.image_size, config.smallest_crop = 4, 0.2
    split = _load(config, seed=1).train
    _assert_equal(_batches(split, workers=workers), _batches(split, workers=4))


def _part(size, host, num_hosts):
    return np.arange(size)[size * host // num_hosts : size * (host + 1) // num_hosts]


@pytest.mark.parametrize("num_hosts", [1, 2, 3, 8])
def test_the_parts_of_several_hosts_make_the_global_batch(num_hosts, data, tmp_path):
    split = _load(_write(tmp_path / "set", "tar", data)).train
    hosts = [
        _batches(split, workers=host, part=_part(BATCH, host, num_hosts))
        for host in range(num_hosts)
    ]
    joined = [
        tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        for parts in zip(*hosts, strict=True)
    ]
    _assert_equal(joined, _batches(split))


def test_a_resumed_stream_begins_with_the_batches_that_are_left(data, tmp_path):
    config = _write(tmp_path / "set", "folder", data)
    config.image_size, config.smallest_crop = 4, 0.2
    split = _load(config).train
    _assert_equal(_batches(split, steps=range(4, 10)), _batches(split)[4:])


def test_random_crops_depend_on_seed_epoch_and_example_alone(data, tmp_path):
    config = _write(tmp_path / "set", "folder", data)
    config.image_size, config.smallest_crop = 4, 0.2
    first, second = (_load(config, seed=seed).train.inputs for seed in (0, 1))
    image = first.read(5, 2)[0]
    np.testing.assert_array_equal(first.read(5, 2)[0], image)
    for other in (second.read(5, 2), first.read(5, 3), first.read(5, None)):
        assert not np.array_equal(other[0], image)
    assert not np.array_equal(second.read(5, 2)[0], first.read(5, 3)[0])


def test_an_epoch_visits_every_example_at_most_once(data, tmp_path):
    draws = stream.draw_steps(
        _order, range(6), steps_per_epoch=3, batch_size=BATCH, part=slice(None)
    )
    drawn = [draw for step in draws for draw in step]
    for epoch in (0, 1):
        indices = [example for example, of in drawn if of == epoch]
        assert len(indices) == len(set(indices)) == 24
        assert set(indices) <= set(range(COUNT))


def test_an_epoch_of_whole_batches_visits_every_example_once():
    for num_hosts in (1, 3):
        parts = [_part(13, host, num_hosts) for host in range(num_hosts)]
        drawn = [
            draw.example
            for part in parts
            for step in stream.draw_steps(
                _order, range(2, 4), steps_per_epoch=2, batch_size=13, part=part
            )
            for draw in step
        ]
        assert sorted(drawn) == list(range(COUNT))


def test_an_error_of_a_worker_ends_the_stream_and_its_threads(data, tmp_path):
    split = _load(_write(tmp_path / "set", "folder", data)).train
    for path in (tmp_path / "set/train/cat").iterdir():
        path.write_bytes(b"")
    begin = time.monotonic()
    with pytest.raises(InputError, match="is damaged: the file is empty; config"):
        _batches(split, workers=3)
    assert time.monotonic() - begin < 5
    assert not _workers()


def test_closing_a_stream_ends_its_threads(data, tmp_path):
    split = _load(_write(tmp_path / "set", "folder", data)).train
    endless = iter(lambda: [Draw(0)] * BATCH, None)
    with closing(stream.stream(split, endless, workers=3)) as batches:
        next(batches)
        assert len(_workers()) == 3
    assert not _workers()


def _workers():
    return [t for t in threading.enumerate() if t.name.startswith("jaxml-data")]


def test_a_damaged_image_is_replaced_by_the_next_and_its_label(data, tmp_path):
    config = _write(tmp_path / "set", "folder", data)
    (tmp_path / "set/train/ant/00008.png").write_text("no image")  # the next is a bee
    config.max_damaged = 1
    split = _load(config).train
    images, targets = _batches(split, order=lambda _: np.arange(5, COUNT))[0]
    expected = [5, 6, 7, 9, 9, 10, 11, 12]
    np.testing.assert_array_equal(images, data.images[expected])
    np.testing.assert_array_equal(targets, data.labels[expected])
    (message,) = split.inputs.damage.messages.values()
    assert message.startswith("image 8 'train/ant/00008.png' is damaged: the file is not an image")
    (tmp_path / "set/train/bee/00009.png").unlink()
    with pytest.raises(InputError, match=r"00009.png' is damaged: No such file .* got 1"):
        _batches(split)


def test_a_missing_decoder_is_not_taken_for_damage(data, tmp_path, monkeypatch):
    config = _write(tmp_path / "set", "folder", data)
    monkeypatch.setattr(decode, "_pillow", lambda: require("no_such_module", "pillow"))
    with pytest.raises(InputError, match=r"^these data need the package pillow"):
        load_dataset(config)


def test_reading_the_whole_set_once_gives_arrays(data, tmp_path):
    config = _write(tmp_path / "set", "folder", data)
    config.stream = False
    dataset = load_dataset(config)
    assert isinstance(dataset, Dataset)
    np.testing.assert_array_equal(dataset.train.inputs, data.images, strict=True)
    np.testing.assert_array_equal(dataset.train.targets, data.labels.astype(np.int32), strict=True)
