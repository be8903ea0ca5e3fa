"""IDX files and sets of them: what is read, and what each damaged one is refused with."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from jaxml.data import DATASETS, Dataset
from jaxml.data.sources import idx
from jaxml.errors import InputError
from jaxml.io import memory

MNIST = {
    "train-images": "train-images-idx3-ubyte",
    "train-labels": "train-labels-idx1-ubyte",
    "test-images": "t10k-images-idx3-ubyte",
    "test-labels": "t10k-labels-idx1-ubyte",
}


def encode(array, *, kind: int = 8) -> bytes:
    """An IDX file, written down from its specification."""
    array = np.asarray(array)
    dimensions = b"".join(struct.pack(">i", size) for size in array.shape)
    values = bytes(array.astype(np.uint8).ravel().tolist())
    return bytes([0, 0, kind, array.ndim]) + dimensions + values


def small_set(first: int = 0) -> dict[str, np.ndarray]:
    """Five training and three test images of 4x3 pixels, no two pixels of a split alike."""
    return {
        "train-images": np.arange(60).reshape(5, 4, 3) + first,
        "train-labels": np.asarray([5, 0, 4, 1, 6]),
        "test-images": np.arange(100, 136).reshape(3, 4, 3) + first,
        "test-labels": np.asarray([2, 7, 1]),
    }


def write(
    folder: Path, arrays=None, names=None, *, gzipped: bool = False, prefix: str = ""
) -> None:
    arrays = small_set() if arrays is None else arrays
    for part, name in (MNIST if names is None else names).items():
        content = encode(arrays[part])
        path = folder / f"{prefix}{name}{'.gz' if gzipped else ''}"
        path.write_bytes(gzip.compress(content) if gzipped else content)


def message(function, *arguments) -> str:
    with pytest.raises(InputError) as error:
        function(*arguments)
    assert str(error.value).isprintable(), "the message is one line"
    return str(error.value)


def check(dataset: Dataset, first: int = 0) -> None:
    """Compares a loaded set with `small_set`."""
    arrays = small_set(first)
    for part, split in {"train": dataset.train, "test": dataset.test}.items():
        images = arrays[f"{part}-images"][..., None].astype(np.uint8)
        np.testing.assert_array_equal(split.inputs, images, strict=True)
        labels = arrays[f"{part}-labels"].astype(np.int32)
        np.testing.assert_array_equal(split.targets, labels, strict=True)
    assert dataset.num_classes == 8


@pytest.mark.parametrize("gzipped", [False, True], ids=["raw", "gzipped"])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "idx"])
def test_a_set_is_loaded_under_each_of_its_names(tmp_path, name, gzipped):
    write(tmp_path, gzipped=gzipped)
    check(DATASETS[name](tmp_path))


def test_a_raw_file_goes_before_its_gzipped_twin(tmp_path):
    write(tmp_path, small_set(first=9), gzipped=True)
    write(tmp_path, small_set(first=0))
    check(idx.load(tmp_path))


def test_raw_and_gzipped_files_of_one_set_go_together(tmp_path):
    write(tmp_path, names={part: MNIST[part] for part in ("train-images", "test-labels")})
    rest = {part: MNIST[part] for part in ("train-labels", "test-images")}
    write(tmp_path, names=rest, gzipped=True)
    check(idx.load(tmp_path))


def test_the_names_of_emnist_are_understood(tmp_path):
    names = {part: name.replace("t10k", "test") for part, name in MNIST.items()}
    write(tmp_path, names=names, gzipped=True, prefix="emnist-letters-")
    check(idx.load(tmp_path))


def test_a_dot_before_idx_is_understood(tmp_path):
    write(tmp_path, names={part: name.replace("-idx", ".idx") for part, name in MNIST.items()})
    check(idx.load(tmp_path))


def test_folders_of_the_same_name_are_passed_over(tmp_path):
    for name in MNIST.values():
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(b"another copy")
    write(tmp_path, names={part: name.replace("-idx", ".idx") for part, name in MNIST.items()})
    check(idx.load(tmp_path))


def test_other_files_beside_a_set_are_passed_over(tmp_path):
    write(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.txt").write_text("notes")
    (tmp_path / "README").write_text("notes")
    check(idx.load(tmp_path))


def test_the_largest_label_of_either_split_gives_the_number_of_classes(tmp_path):
    write(tmp_path, small_set() | {"train-labels": np.asarray([1, 2, 61, 0, 0])})
    assert idx.load(tmp_path).num_classes == 62


@pytest.mark.parametrize("shape", [(7,), (2, 3), (2, 3, 4), (2, 1, 3, 2)])
def test_a_file_of_any_number_of_dimensions_is_read_in_c_order(tmp_path, shape):
    path = tmp_path / "file"
    count = int(np.prod(shape))
    path.write_bytes(encode(np.arange(count).reshape(shape)))
    array = idx.read(path)
    assert (array.shape, array.dtype) == (shape, np.uint8)
    assert array.ravel().tolist() == list(range(count))


def test_a_gzipped_file_is_known_by_its_content(tmp_path):
    path = tmp_path / "file-idx1-ubyte"
    path.write_bytes(gzip.compress(encode([3, 1, 4])))
    assert idx.read(path).tolist() == [3, 1, 4]


@pytest.mark.parametrize(
    ("content", "start"),
    [
        (b"\1\0\x08\1" + struct.pack(">i", 1) + b"a", "01000801"),
        (b"\0\1\x08\1" + struct.pack(">i", 1) + b"a", "00010801"),
        (encode([1, 2], kind=9), "00000901"),
        (encode([1, 2], kind=0x0D), "00000d01"),
        (b"<!DOCTYPE html>", "3c21444f"),
    ],
    ids=["first byte", "second byte", "signed bytes", "floats", "web page"],
)
def test_another_magic_number_is_refused(tmp_path, content, start):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert message(idx.read, path) == (
        f"{path}: must be an IDX file of unsigned bytes, which starts with 000008 and the "
        f"number of dimensions, got {start}"
    )


def test_a_file_that_is_cut_short_anywhere_is_refused(tmp_path):
    path = tmp_path / "file"
    content = encode(np.arange(12).reshape(3, 2, 2))
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert message(idx.read, path).startswith(f"{path}: ")


def test_a_header_that_is_cut_short_is_told(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(encode(np.zeros((3, 2, 2)))[:9])
    assert message(idx.read, path) == f"{path}: the header is cut short after 9 bytes"


@pytest.mark.parametrize("surplus", [-1, 1], ids=["a byte missing", "a byte too many"])
def test_a_length_that_the_header_does_not_promise_is_refused(tmp_path, surplus):
    path = tmp_path / "file"
    content = encode(np.zeros((3, 2, 2)))
    path.write_bytes(content[:surplus] if surplus < 0 else content + b"\0")
    told = message(idx.read, path)
    assert told.startswith(f"{path}: must have 3 x 2 x 2 values")
    assert told.endswith(f"got {12 + surplus}")


@pytest.mark.parametrize(
    "sizes",
    [[1] * 65, [1] * 255, [0, 2**32 - 1, 2**32 - 1], [2**32 - 1] * 2],
    ids=["65 dimensions", "255 dimensions", "none of a huge image", "more than memory"],
)
def test_a_shape_that_no_array_can_have_is_refused(tmp_path, sizes):
    path = tmp_path / "file"
    header = bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)
    path.write_bytes(header + (b"a" if sizes[0] else b""))
    assert message(idx.read, path).startswith(f"{path}: ")


def test_a_gzip_stream_that_is_cut_short_anywhere_is_refused(tmp_path):
    path = tmp_path / "file.gz"
    content = gzip.compress(encode(np.arange(12).reshape(3, 2, 2)))
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert message(idx.read, path).startswith(f"{path}: ")
    path.write_bytes(content[:-1])
    assert message(idx.read, path) == f"{path}: the gzip stream is cut short"


@pytest.mark.parametrize("position", [-8, -4, 3, 12], ids=["crc", "length", "flags", "data"])
def test_a_corrupt_gzip_stream_is_refused(tmp_path, position):
    path = tmp_path / "file.gz"
    content = bytearray(gzip.compress(encode(np.arange(12).reshape(3, 2, 2))))
    content[position] ^= 0xFF
    path.write_bytes(content)
    assert message(idx.read, path).startswith(f"{path}: ")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    told = message(idx.read, tmp_path / "nothing")
    assert told.startswith(f"{tmp_path / 'nothing'}: ")
    assert "No such file" in told


@pytest.mark.parametrize("missing", MNIST)
def test_a_set_without_one_of_its_files_is_refused(tmp_path, missing):
    write(tmp_path)
    (tmp_path / MNIST[missing]).unlink()
    name = MNIST[missing]
    assert message(idx.load, tmp_path) == (
        f"config.data.dir must contain {name} or {name}.gz, got '{tmp_path}'"
    )


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    told = message(idx.load, tmp_path / "nothing")
    assert told.startswith("config.data.dir must contain train-images")


@pytest.mark.parametrize("split", ["train", "test"])
def test_another_number_of_labels_than_images_is_refused(tmp_path, split):
    write(tmp_path, small_set() | {f"{split}-labels": np.asarray([1, 2])})
    count = {"train": 5, "test": 3}[split]
    assert message(idx.load, tmp_path) == (
        f"{tmp_path / MNIST[f'{split}-labels']}: must have one label for each of the {count} "
        f"images in {MNIST[f'{split}-images']}, got 2"
    )


def test_splits_of_images_of_different_sizes_are_refused(tmp_path):
    write(tmp_path, small_set() | {"test-images": np.zeros((3, 3, 4))})
    told = message(idx.load, tmp_path)
    assert "training images of (4, 3)" in told
    assert "test images of (3, 4)" in told


@pytest.mark.parametrize(
    ("part", "shape"),
    [
        ("train-images", (5, 12)),
        ("test-labels", (3, 1)),
        ("train-images", (0, 4, 3)),
        ("test-images", (3, 0, 3)),
    ],
    ids=["flat images", "labels in a table", "no images", "no pixels"],
)
def test_arrays_of_other_shapes_than_images_and_labels_are_refused(tmp_path, part, shape):
    write(tmp_path, small_set() | {part: np.zeros(shape)})
    told = message(idx.load, tmp_path)
    assert told.startswith(f"{tmp_path / MNIST[part]}: ")
    assert str(shape) in told


def test_empty_sets_and_images_are_told_apart(tmp_path):
    for shape, what in (((0, 4, 3), "example"), ((5, 0, 3), "pixel")):
        write(tmp_path, small_set() | {"train-images": np.zeros(shape)})
        assert message(idx.load, tmp_path) == (
            f"{tmp_path / MNIST['train-images']}: must have at least one {what}, got shape {shape}"
        )


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["raw", "gzipped"])
def test_a_file_that_does_not_fit_in_memory_is_refused_by_its_header(
    tmp_path, monkeypatch, compress
):
    path = tmp_path / "file"
    path.write_bytes(compress(encode(np.zeros((3, 2, 2)))))
    monkeypatch.setattr(memory, "available_on_host", lambda: 11)
    assert "must fit in the available memory of 0.0 MiB" in message(idx.read, path)
    monkeypatch.setattr(memory, "available_on_host", lambda: 12)
    assert idx.read(path).shape == (3, 2, 2)


def test_an_empty_file_is_refused(tmp_path):
    write(tmp_path)
    (tmp_path / MNIST["train-labels"]).write_bytes(b"")
    assert message(idx.load, tmp_path).startswith(f"{tmp_path / MNIST['train-labels']}: ")


@pytest.mark.parametrize("first_gzipped", [False, True], ids=["raw", "gzipped"])
@pytest.mark.parametrize("second_gzipped", [False, True], ids=["raw", "gzipped"])
def test_a_folder_with_two_sets_is_refused(tmp_path, first_gzipped, second_gzipped):
    write(tmp_path, gzipped=first_gzipped)
    write(tmp_path, gzipped=second_gzipped, prefix="emnist-letters-")
    told = message(idx.load, tmp_path)
    assert told.startswith(f"config.data.dir must contain a single data set, got {tmp_path} with ")
    assert "train-images-idx3-ubyte" in told
    assert "emnist-letters-train-images-idx3-ubyte" in told


@pytest.mark.parametrize("other", ["train-labels", "test-images"])
def test_files_of_different_sets_are_not_put_together(tmp_path, other):
    for part, name in MNIST.items():
        prefix = "emnist-digits-" if part == other else "emnist-letters-"
        write(tmp_path, names={part: name}, prefix=prefix)
    assert message(idx.load, tmp_path).startswith("config.data.dir must contain the files of one ")
