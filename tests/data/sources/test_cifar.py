"""CIFAR-10 and CIFAR-100 in both published forms, whole and damaged."""

import gzip
import io
import lzma
import pickle
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from jaxml.data import DATASETS
from jaxml.data.sources import cifar
from jaxml.errors import InputError

COUNT = 2  # images in each file of the small sets that are written here


class Form(NamedTuple):
    """A published form with small batches, and how many classes its set has."""

    layout: cifar.Layout
    num_classes: int


def small(layout: cifar.Layout) -> cifar.Layout:
    return layout._replace(images=dict.fromkeys(layout.images, COUNT))


FORMS = {
    "cifar10-python": Form(small(cifar.CIFAR10[0]), 10),
    "cifar10-binary": Form(small(cifar.CIFAR10[1]), 10),
    "cifar100-python": Form(small(cifar.CIFAR100[0]), 100),
    "cifar100-binary": Form(small(cifar.CIFAR100[1]), 100),
}
PYTHON, BINARY = FORMS["cifar10-python"], FORMS["cifar10-binary"]


def planes(image: np.ndarray) -> bytes:
    """An image of 32x32x3 as it is published: all of red row by row, then green, then blue."""
    return bytes(
        int(image[row, column, channel])
        for channel in range(3)
        for row in range(32)
        for column in range(32)
    )


def batch_file(form: Form, images, labels) -> bytes:
    """The content of one file; the coarse labels of CIFAR-100 are no labels of its fine classes."""
    if form.layout.test.endswith(".bin"):
        coarse = b"\xff" if form.num_classes == 100 else b""
        return b"".join(
            coarse + bytes([label]) + planes(image)
            for image, label in zip(images, labels, strict=True)
        )
    data = np.frombuffer(b"".join(map(planes, images)), np.uint8).reshape(len(images), 3072)
    batch = {
        b"batch_label": b"a batch",
        b"coarse_labels": [255] * len(images),
        (b"labels" if form.num_classes == 10 else b"fine_labels"): labels,
        b"data": data,
        b"filenames": [b"image_%d.png" % i for i in range(len(images))],
    }
    return pickle.dumps(batch, protocol=2)


class Batch(NamedTuple):
    """What one file is made of."""

    images: np.ndarray
    labels: list[int]


def batches(form: Form, seed: int = 0) -> dict[str, Batch]:
    rng = np.random.default_rng(seed)
    return {
        name: Batch(
            rng.integers(256, size=(COUNT, 32, 32, 3), dtype=np.uint8),
            rng.integers(form.num_classes, size=COUNT).tolist(),
        )
        for name in (*form.layout.train, form.layout.test)
    }


def files(form: Form, seed: int = 0) -> dict[str, bytes]:
    return {name: batch_file(form, *batch) for name, batch in batches(form, seed).items()}


def tarball(members: dict[str, bytes], extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, member in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(member)
            archive.addfile(entry, io.BytesIO(member))
        for entry in extra:  # `addfile` refuses a size without its content in newer versions
            header = entry.tobuf(archive.format, archive.encoding or "utf-8", "strict")
            content.write(header)
            archive.offset += len(header)
    return content.getvalue()


def write(directory: Path, form: Form, contents: dict[str, bytes], place: str = "folder") -> None:
    """Puts the files where `place` says."""
    if place == "tarball":
        members = {f"{form.layout.folder}/{name}": contents[name] for name in reversed(contents)}
        members = {f"{form.layout.folder}/readme.html": b"<html>"} | members
        (directory / form.layout.tarball).write_bytes(gzip.compress(tarball(members)))
        return
    folder = directory if place == "itself" else directory / form.layout.folder
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def load(directory: Path, form: Form):
    names = tuple(f"class {i}" for i in range(form.num_classes))
    return cifar.load(directory, (form.layout,), names)


def refused(directory: Path, form: Form) -> str:
    """The message with which a set is refused."""
    with pytest.raises(InputError) as error:
        load(directory, form)
    check_message(error.value)
    return str(error.value)


def check_message(error: InputError) -> None:
    assert str(error).isprintable(), "the message is one line"
    assert len(str(error)) < 1000


@pytest.mark.parametrize("place", ["folder", "itself", "tarball"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_batches_are_read_in_order_wherever_they_are(tmp_path, form, place):
    write(tmp_path, form, files(form), place)
    dataset = load(tmp_path, form)
    *train, test = batches(form).values()
    for split, parts in ((dataset.train, train), (dataset.test, [test])):
        expected = [image for part in parts for image in part.images]
        np.testing.assert_array_equal(split.inputs, np.stack(expected), strict=True)
        labels = [label for part in parts for label in part.labels]
        np.testing.assert_array_equal(split.targets, np.asarray(labels, np.int32), strict=True)
    assert dataset.num_classes == form.num_classes
    assert dataset.class_names[-1] == f"class {form.num_classes - 1}"
    assert dataset.train.inputs.flags.c_contiguous


@pytest.mark.parametrize("labels", [list, np.array, lambda x: np.array(x, ">i4"), np.uint8])
@pytest.mark.parametrize("decoded", [False, True], ids=["bytes", "text"])
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("form", [PYTHON, FORMS["cifar100-python"]], ids=["10", "100"])
def test_batches_that_were_pickled_anew_are_read(tmp_path, form, protocol, decoded, labels):
    contents = {}
    for name, content in files(form).items():
        batch = pickle.loads(content, encoding="bytes")
        key = b"labels" if form.num_classes == 10 else b"fine_labels"
        batch[key] = labels(batch[key])
        batch[b"data"] = np.asfortranarray(batch[b"data"])
        if decoded:
            batch = {key.decode(): value for key, value in batch.items()}
        contents[name] = pickle.dumps(batch, protocol)
    write(tmp_path, form, contents)
    dataset = load(tmp_path, form)
    expected = batches(form)[form.layout.test]
    np.testing.assert_array_equal(dataset.test.inputs, expected.images, strict=True)
    assert dataset.test.targets.tolist() == expected.labels


@pytest.mark.parametrize(("row", "column", "channel"), [(0, 1, 0), (1, 0, 1), (31, 30, 2)])
@pytest.mark.parametrize("form", [PYTHON, BINARY], ids=["python", "binary"])
def test_a_byte_becomes_the_pixel_that_the_publication_says(tmp_path, form, row, column, channel):
    contents = files(form)
    first = form.layout.train[0]
    data = np.zeros((COUNT, 3072), np.uint8)
    data[1, 1024 * channel + 32 * row + column] = 7
    if form is PYTHON:
        contents[first] = pickle.dumps({b"data": data, b"labels": [0, 0]}, protocol=2)
    else:
        contents[first] = b"".join(b"\0" + image.tobytes() for image in data)
    write(tmp_path, form, contents)
    images = load(tmp_path, form).train.inputs[:COUNT]
    assert images[1, row, column, channel] == 7
    assert images.sum(dtype=int) == 7


def test_the_published_files_are_these():
    tables = {
        layout.folder: (layout.tarball, layout.train, layout.test, dict(layout.images))
        for layout in (*cifar.CIFAR10, *cifar.CIFAR100)
    }
    five = [f"data_batch_{i}" for i in (1, 2, 3, 4, 5)]
    five_bin = [f"data_batch_{i}.bin" for i in (1, 2, 3, 4, 5)]
    assert tables == {
        "cifar-10-batches-py": (
            "cifar-10-python.tar.gz",
            tuple(five),
            "test_batch",
            dict.fromkeys([*five, "test_batch"], 10_000),
        ),
        "cifar-10-batches-bin": (
            "cifar-10-binary.tar.gz",
            tuple(five_bin),
            "test_batch.bin",
            dict.fromkeys([*five_bin, "test_batch.bin"], 10_000),
        ),
        "cifar-100-python": (
            "cifar-100-python.tar.gz",
            ("train",),
            "test",
            {"train": 50_000, "test": 10_000},
        ),
        "cifar-100-binary": (
            "cifar-100-binary.tar.gz",
            ("train.bin",),
            "test.bin",
            {"train.bin": 50_000, "test.bin": 10_000},
        ),
    }


@pytest.mark.parametrize(("name", "num_classes"), [("cifar10", 10), ("cifar100", 100)])
def test_each_set_is_loaded_under_its_name(tmp_path, monkeypatch, name, num_classes):
    forms = [form for form in FORMS.values() if form.num_classes == num_classes]
    monkeypatch.setattr(cifar, name.upper(), tuple(form.layout for form in forms))
    write(tmp_path, forms[1], files(forms[1]))
    dataset = DATASETS[name](tmp_path)
    assert dataset.num_classes == num_classes
    assert dataset.test.targets.tolist() == batches(forms[1])[forms[1].layout.test].labels


def test_the_folder_goes_before_the_tarball(tmp_path):
    write(tmp_path, BINARY, files(BINARY, seed=1), "tarball")
    write(tmp_path, BINARY, files(BINARY, seed=2), "folder")
    images = load(tmp_path, BINARY).test.inputs
    np.testing.assert_array_equal(images, batches(BINARY, seed=2)["test_batch.bin"].images)


def test_the_first_of_two_forms_is_read(tmp_path):
    write(tmp_path, PYTHON, files(PYTHON, seed=1), "tarball")
    write(tmp_path, BINARY, files(BINARY, seed=2), "folder")
    dataset = cifar.load(tmp_path, (PYTHON.layout, BINARY.layout), cifar.CIFAR10_CLASSES)
    np.testing.assert_array_equal(dataset.test.inputs, batches(PYTHON, seed=1)["test_batch"].images)


def test_a_folder_with_none_of_the_forms_is_told_what_it_may_hold(tmp_path):
    with pytest.raises(InputError) as error:
        DATASETS["cifar10"](tmp_path / "nothing")
    assert str(error.value) == (
        "config.data.dir must contain one of cifar-10-batches-py/, cifar-10-python.tar.gz, "
        f"cifar-10-batches-bin/, cifar-10-binary.tar.gz, got '{tmp_path / 'nothing'}'"
    )


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("part", ["train", "test"])
def test_one_missing_file_of_a_folder_is_named(tmp_path, form, part):
    missing = form.layout.train[-1] if part == "train" else form.layout.test
    contents = files(form)
    del contents[missing]
    write(tmp_path, form, contents)
    path = tmp_path / form.layout.folder / missing
    assert refused(tmp_path, form) == f"{path}: No such file or directory"


def test_the_missing_files_of_a_tarball_are_named(tmp_path):
    contents = files(BINARY)
    del contents["data_batch_2.bin"], contents["test_batch.bin"]
    write(tmp_path, BINARY, contents, "tarball")
    assert refused(tmp_path, BINARY) == (
        f"{tmp_path / BINARY.layout.tarball}: must contain data_batch_2.bin, test_batch.bin"
    )


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    contents = files(BINARY)
    del contents["data_batch_2.bin"]
    write(tmp_path, BINARY, contents)
    path = tmp_path / BINARY.layout.folder / "data_batch_2.bin"
    path.mkdir()
    assert refused(tmp_path, BINARY).startswith(f"{path}: ")


@pytest.mark.parametrize("place", ["folder", "tarball"])
@pytest.mark.parametrize("length", [0, 1, 3000, 6145, 6147])
def test_a_binary_batch_of_another_length_is_refused(tmp_path, length, place):
    contents = files(BINARY)
    contents["data_batch_3.bin"] = (contents["data_batch_3.bin"] + b"\0")[:length]
    write(tmp_path, BINARY, contents, place)
    told = refused(tmp_path, BINARY)
    where = {
        "folder": tmp_path / BINARY.layout.folder / "data_batch_3.bin",
        "tarball": f"{tmp_path / BINARY.layout.tarball}: data_batch_3.bin",
    }[place]
    assert told == f"{where}: must have 6146 bytes (2 images of 3073 bytes), got {length}"


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.999])
def test_a_python_batch_that_is_cut_short_is_refused(tmp_path, kept):
    contents = files(PYTHON)
    whole = contents["data_batch_3"]
    contents["data_batch_3"] = whole[: int(kept * len(whole))]
    write(tmp_path, PYTHON, contents)
    path = tmp_path / PYTHON.layout.folder / "data_batch_3"
    assert refused(tmp_path, PYTHON).startswith(f"{path}: ")


@pytest.mark.parametrize("compressed", [True, False], ids=["gzip", "tar"])
def test_a_tarball_that_is_cut_short_anywhere_is_refused(tmp_path, compressed):
    write(tmp_path, BINARY, files(BINARY), "tarball")
    path = tmp_path / BINARY.layout.tarball
    whole = path.read_bytes() if compressed else gzip.decompress(path.read_bytes())
    end_of_the_last_file = int(0.85 * len(whole)) if compressed else whole.rindex(b"data_batch_1")
    for length in (0, 1, 2, 9, 300, *range(512, end_of_the_last_file, 1999)):
        path.write_bytes(whole[:length])
        assert refused(tmp_path, BINARY).startswith(f"{path}: "), length


@pytest.mark.parametrize("damage", [b"\x04", b"\xff" * 40], ids=["one bit", "40 bytes"])
@pytest.mark.parametrize("levels", [256, 16], ids=["stored", "compressed"])
def test_damage_anywhere_in_a_tarball_is_refused(tmp_path, levels, damage):
    contents = {
        name: bytes(value % levels for value in content) for name, content in files(BINARY).items()
    }
    write(tmp_path, BINARY, contents, "tarball")
    path = tmp_path / BINARY.layout.tarball
    whole = path.read_bytes()
    header = 10  # its time and operating system say nothing about the content
    for position in (*range(header, len(whole), 997), len(whole) - 8, len(whole) - 4):
        content = bytearray(whole)
        for offset, bits in enumerate(damage[: len(whole) - position]):
            content[position + offset] ^= bits
        path.write_bytes(content)
        assert refused(tmp_path, BINARY).startswith(f"{path}: "), position


@pytest.mark.parametrize(
    "content",
    [b"<!DOCTYPE html><title>404</title>", lzma.compress(bytes(99))[:-30] + bytes(30)],
    ids=["a web page", "a corrupt xz file"],
)
def test_something_else_in_the_place_of_the_tarball_is_refused(tmp_path, content):
    path = tmp_path / BINARY.layout.tarball
    path.write_bytes(content)
    assert refused(tmp_path, BINARY).startswith(f"{path}: ")


def test_a_tarball_that_breaks_inside_its_xz_stream_is_refused(tmp_path):
    members = {f"{BINARY.layout.folder}/{name}": data for name, data in files(BINARY).items()}
    content = bytearray(lzma.compress(tarball(members)))
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    path = tmp_path / BINARY.layout.tarball
    path.write_bytes(content)
    assert refused(tmp_path, BINARY).startswith(f"{path}: ")


def entry(name: str, kind: bytes, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(f"{BINARY.layout.folder}/{name}")
    info.type, info.linkname, info.size = kind, target, size
    return info


NO_FILES = {
    "dangling link": entry("data_batch_5.bin", tarfile.SYMTYPE, "nothing"),
    "dangling hard link": entry("data_batch_5.bin", tarfile.LNKTYPE, "nothing"),
    "link to itself": entry("data_batch_5.bin", tarfile.SYMTYPE, "data_batch_5.bin"),
    "link outside": entry("data_batch_5.bin", tarfile.SYMTYPE, "/etc/hostname"),
    "pipe": entry("data_batch_5.bin", tarfile.FIFOTYPE),
    "folder": entry("data_batch_5.bin", tarfile.DIRTYPE),
    "absurd size": entry("data_batch_5.bin", tarfile.REGTYPE, size=2**70),
}


@pytest.mark.parametrize("member", NO_FILES.values(), ids=NO_FILES)
def test_a_member_that_is_no_file_is_refused(tmp_path, member):
    contents = files(BINARY)
    del contents["data_batch_5.bin"]
    members = {f"{BINARY.layout.folder}/{name}": data for name, data in contents.items()}
    path = tmp_path / BINARY.layout.tarball
    path.write_bytes(gzip.compress(tarball(members, extra=(member,))))
    assert refused(tmp_path, BINARY).startswith(f"{path}: ")


def test_nothing_of_a_tarball_is_written_to_disk(tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    write(tmp_path, BINARY, files(BINARY), "tarball")
    load(tmp_path, BINARY)
    assert {path.name for path in tmp_path.rglob("*")} == {"elsewhere", BINARY.layout.tarball}


@pytest.mark.parametrize(
    ("form", "label"),
    [
        pytest.param(PYTHON, -1, id="python, -1"),
        pytest.param(PYTHON, 10, id="python, 10"),
        pytest.param(PYTHON, -(2**80), id="python, less than 64 bits"),
        pytest.param(PYTHON, 10**5000, id="python, more digits than are written"),
        pytest.param(BINARY, 10, id="binary, 10"),
        pytest.param(BINARY, 255, id="binary, 255"),
        pytest.param(FORMS["cifar100-python"], 100, id="cifar100 python, 100"),
        pytest.param(FORMS["cifar100-binary"], 100, id="cifar100 binary, 100"),
    ],
)
def test_a_label_of_no_class_is_refused(tmp_path, form, label):
    contents = files(form)
    first = form.layout.train[0]
    contents[first] = batch_file(form, batches(form)[first].images, [3, label])
    write(tmp_path, form, contents)
    path = tmp_path / form.layout.folder / first
    assert refused(tmp_path, form).startswith(
        f"{path}: labels must be in [0, {form.num_classes}), got "
    )


def test_the_largest_label_of_a_set_is_allowed(tmp_path):
    contents = files(BINARY)
    images = batches(BINARY)["test_batch.bin"].images
    contents["test_batch.bin"] = batch_file(BINARY, images, [0, 9])
    write(tmp_path, BINARY, contents)
    assert load(tmp_path, BINARY).test.targets.tolist() == [0, 9]


PIXELS = np.zeros((COUNT, 3072), np.uint8)
NO_BATCH = "must be a CIFAR batch, a dict with an array 'data' and a list or array 'labels'"


OTHER_BATCHES = {
    "list": ([PIXELS.tobytes(), [0, 1]], NO_BATCH),
    "nothing": (None, NO_BATCH),
    "empty dict": ({}, NO_BATCH),
    "no labels": ({b"data": PIXELS}, NO_BATCH),
    "no data": ({b"labels": [0, 1]}, NO_BATCH),
    "data in bytes": ({b"data": PIXELS.tobytes(), b"labels": [0, 1]}, NO_BATCH),
    "labels in a tuple": ({b"data": PIXELS, b"labels": (0, 1)}, NO_BATCH),
    "labels of another set": ({b"data": PIXELS, b"fine_labels": [0, 1]}, NO_BATCH),
    "a pixel short": ({b"data": PIXELS[:, 1:], b"labels": [0, 1]}, "got (2, 3071) and 2"),
    "an image short": ({b"data": PIXELS[:1], b"labels": [0, 1]}, "got (1, 3072) and 2"),
    "one flat image": ({b"data": PIXELS[0], b"labels": [0, 1]}, "got (3072,) and 2"),
    "images in rows and columns": (
        {b"data": PIXELS.reshape(2, 32, 32, 3), b"labels": [0, 1]},
        "got (2, 32, 32, 3) and 2",
    ),
    "a label short": ({b"data": PIXELS, b"labels": [0]}, "got (2, 3072) and 1"),
    "a label too many": ({b"data": PIXELS, b"labels": [0, 1, 2]}, "got (2, 3072) and 3"),
    "real labels": ({b"data": PIXELS, b"labels": [0.0, 1.0]}, "the labels must be integers"),
    "a truth value": ({b"data": PIXELS, b"labels": [0, True]}, "the labels must be integers"),
    "a label in bytes": ({b"data": PIXELS, b"labels": [0, b"1"]}, "the labels must be integers"),
    "nested labels": ({b"data": PIXELS, b"labels": [[0], [1]]}, "the labels must be integers"),
    "real pixels": (
        {b"data": PIXELS.astype(np.float32), b"labels": [0, 1]},
        "must be an integer type",
    ),
    "wide pixels": (
        {b"data": PIXELS.astype(np.int64), b"labels": [0, 1]},
        "'data' must have dtype uint8, got int64",
    ),
}


@pytest.mark.parametrize(("batch", "expected"), OTHER_BATCHES.values(), ids=OTHER_BATCHES)
def test_a_pickle_of_anything_else_is_refused(tmp_path, batch: Any, expected):
    contents = files(PYTHON) | {"data_batch_2": pickle.dumps(batch, protocol=2)}
    write(tmp_path, PYTHON, contents)
    told = refused(tmp_path, PYTHON)
    assert told.startswith(f"{tmp_path / PYTHON.layout.folder / 'data_batch_2'}: ")
    assert expected in told


@pytest.mark.parametrize("place", ["folder", "itself", "tarball"])
def test_a_hostile_batch_is_refused_and_not_run(tmp_path, place):
    marker = tmp_path / "marker"
    hostile = f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()
    write(tmp_path, PYTHON, files(PYTHON) | {"data_batch_4": hostile}, place)
    told = refused(tmp_path, PYTHON)
    assert "data_batch_4: " in told
    assert "os.system" in told
    assert not marker.exists()


def test_random_damage_of_a_tarball_ends_in_one_line_or_in_a_set(tmp_path):
    write(tmp_path, BINARY, files(BINARY), "tarball")
    path = tmp_path / BINARY.layout.tarball
    whole = gzip.decompress(path.read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(150):
        content = bytearray(whole)
        header = content.index(BINARY.layout.train[rng.integers(5)].encode())
        header -= header % 512
        for position in rng.integers(512, size=3):
            content[header + position] = rng.integers(256)
        content[header + 148 : header + 156] = b" " * 8
        content[header + 148 : header + 156] = b"%06o\0 " % sum(content[header : header + 512])
        path.write_bytes(gzip.compress(content, compresslevel=1))
        try:
            load(tmp_path, BINARY)
        except InputError as error:
            check_message(error)


def test_the_names_of_the_classes():
    """Those of CIFAR-100 are numbered in alphabetical order."""
    assert len(set(cifar.CIFAR100_CLASSES)) == 100
    assert list(cifar.CIFAR100_CLASSES) == sorted(cifar.CIFAR100_CLASSES)
    named = {0: "apple", 42: "leopard", 70: "rose", 99: "worm"}
    assert {label: cifar.CIFAR100_CLASSES[label] for label in named} == named
    named = {0: "airplane", 3: "cat", 5: "dog", 6: "frog", 9: "truck"}
    assert len(cifar.CIFAR10_CLASSES) == 10
    assert {label: cifar.CIFAR10_CLASSES[label] for label in named} == named
