"""Sources of images: splits, classes, cached indexes, and one line for each kind of bad input."""

import json
import os
import tarfile

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from jaxml.data import SOURCES, _optional, decode, shards
from jaxml.data.shards import Encoded
from jaxml.data.sources import _example, folder, table, tfrecord
from jaxml.data.sources.table import Columns, create_tables
from jaxml.errors import InputError
from tests.data.sources import formats

COLUMNS = Columns()


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def data():
    return formats.examples(12)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def _tables(place, kind, columns=COLUMNS):
    return create_tables(SOURCES[formats.WRITERS[kind][0]], place, columns)


def _message(place, kind, columns=COLUMNS):
    with pytest.raises(InputError) as error:
        _tables(place, kind, columns)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", formats.WRITERS)
def test_the_files_of_each_split_are_found_by_their_names(kind, data, place):
    write = formats.WRITERS[kind][1]
    for number, split in enumerate(("train", "validation", "test")):
        write(place, split, formats.examples(12 + number))
    tables, _ = _tables(place, kind)
    assert {name: len(table) for name, table in tables.items()} == {
        "train": 12, "val": 13, "test": 14
    }  # fmt: skip
    for split in tables.values():
        assert len({split.name(index) for index in range(len(split))}) == len(split)


@pytest.mark.parametrize("kind", sorted(formats.WRITERS.keys() - {"folder"}))
def test_files_with_other_names_are_one_set(kind, data, place):
    formats.WRITERS[kind][1](place, "photos", data)
    tables, _ = _tables(place, kind)
    assert {name: len(table) for name, table in tables.items()} == {"train": 12}


def test_class_folders_without_splits_are_one_set(data, place):
    formats.write_folder(place, "", data)
    tables, class_names = _tables(place, "folder")
    assert class_names == formats.CLASS_NAMES
    assert tables["train"][4] == (data.encoded[4], 1, "bee/00004.png")


def test_the_sample_images_are_those_of_scikit_learn(place):
    tables, class_names = create_tables(SOURCES["sample_images"], place, COLUMNS)
    assert class_names == ("china", "flower")
    for split in (tables["train"], tables["test"]):
        assert split.labels.tolist() == [0, 1]
        found = [decode.full_size(split[index].content) for index in range(2)]
        np.testing.assert_array_equal(found, load_sample_images().images)


def test_a_split_holds_out_a_fraction_of_each_class(place):
    labels = np.repeat([0, 1, 2, 3], [40, 10, 2, 1])
    np.savez(place / "a.npz", image=np.zeros((53, 2, 2), np.uint8), label=labels)
    whole = _tables(place, "npz")[0]["train"]
    rest, held_out = whole.split(0.2, seed=0)
    assert np.bincount(labels[held_out.rows]).tolist() == [8, 2, 1]
    assert sorted([*rest.rows, *held_out.rows]) == list(range(53))
    np.testing.assert_array_equal(whole.split(0.2, seed=0)[1].rows, held_out.rows)
    assert not np.array_equal(whole.split(0.2, seed=1)[1].rows, held_out.rows)


def test_validation_labels_keep_the_numbers_of_the_training_classes(place):
    (place / "train.tsv").write_text("image\tlabel\na.png\tdog\nb.png\tcat\nc.png\tant\n")
    (place / "val.jsonl").write_text('{"image": "d.png", "label": "dog"}\n')
    tables, class_names = _tables(place, "list")
    assert class_names == ("ant", "cat", "dog")
    assert tables["train"].labels.tolist() == [2, 1, 0]
    assert tables["val"].labels.tolist() == [2]
    (place / "train.tsv").write_text("image\tlabel\na.png\t1\nb.png\tx\nc.png\t0\n")
    (place / "val.jsonl").write_text('{"image": "d.png", "label": 1}\n')
    tables, class_names = _tables(place, "list")
    assert (class_names, tables["val"].labels.tolist()) == (("0", "1", "x"), [1])
    (place / "train.tsv").write_text("image\tlabel\na.png\t1\nb.png\tx\nc.png\tz\n")
    assert _tables(place, "list")[0]["val"].labels.tolist() == [0]
    (place / "val.jsonl").write_text('{"image": "d.png", "label": "cow"}\n')
    assert "d.png: the label must be one of the 3 classes of the training split, got cow" in (
        _message(place, "list")
    )


def test_numbers_of_other_class_names_are_translated(place, data):
    pytest.importorskip("pyarrow")
    formats.write_parquet(place, "train", data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "CLASS_NAMES", ("cat", "ant", "bee"))
        formats.write_parquet(place, "val", data)
    tables, _ = _tables(place, "parquet")
    assert tables["val"].labels.tolist() == [2] * 4 + [0] * 4 + [1] * 4


@pytest.mark.parametrize("kind", ["tar", "array_record"])
def test_classes_keep_their_names_and_numbers_in_shards(kind, place, tmp_path, data):
    if kind == "array_record":
        pytest.importorskip("array_record")
    for number in range(1, 13):  # in the order of the folders: 1, 10, 11, 12, 2, ...
        (place / f"train/{number}").mkdir(parents=True)
        (place / f"train/{number}/a.png").write_bytes(data.encoded[number - 1])
    formats.write_folder(place, "val", formats.Examples(data.images[:1], np.zeros(1, int)))
    (place / "val/ant").rename(place / "val/7")
    before, class_names = _tables(place, "folder")
    assert class_names == tuple(sorted(map(str, range(1, 13))))
    for split, part in before.items():
        encoded = [Encoded(bytes(part[i].content), str(part[i].label)) for i in range(len(part))]
        shards.write_shard(tmp_path / f"{split}.{kind}", encoded)
    shards.write_class_names(tmp_path, class_names)
    after, same_names = _tables(tmp_path, kind)
    assert same_names == class_names
    for split, part in before.items():
        assert after[split].labels.tolist() == part.labels.tolist()
        assert [after[split][i].content for i in range(len(part))] == [
            part[i].content for i in range(len(part))
        ]


def test_a_list_of_classes_names_the_labels_of_shards(place, data):
    def write(split, labels):
        with tarfile.open(place / f"{split}.tar", "w") as file:
            for number, label in enumerate(labels):
                formats.add_member(file, f"{number}.png", data.encoded[number])
                formats.add_member(file, f"{number}.cls", label.encode())

    classes = place / "classes.json"
    classes.write_text('["ant", "cow", "bee"]')
    for labels in (["2", "0"], ["bee", "ant"]):
        write("train", labels)
        tables, class_names = _tables(place, "tar")
        assert class_names == ("ant", "cow", "bee")  # also a class without an example
        assert tables["train"].labels.tolist() == [2, 0]
    for labels, value in ((["0", "3"], "in [0, 3), got 3"), (["ant", "dog"], "split, got dog")):
        write("train", labels)
        assert _message(place, "tar").endswith(f"{value} (1 of 2 examples)")
    for text in ('{"a": 1}', "[1]", "[", '["a", "a"]'):
        classes.write_text(text)
        assert str(classes) in _message(place, "tar")


def test_tar_labels_may_be_names_or_json(place, data):
    with tarfile.open(place / "a.tar", "w") as file:
        for number, label in enumerate(("dog", "cat")):
            formats.add_member(file, f"x/{number}.v2.json", json.dumps({"label": label}).encode())
            formats.add_member(file, f"x/{number}.v2.PNG", data.encoded[number])
            formats.add_member(file, f"x/{number}.txt", b"ignored")
    tables, class_names = _tables(place, "tar")
    assert (class_names, tables["train"].labels.tolist()) == (("cat", "dog"), [1, 0])
    assert tables["train"][1] == (data.encoded[1], 0, "a.tar:x/1.v2.PNG")


@pytest.mark.parametrize("kind", ["tar", "tfrecord"])
def test_an_index_is_built_once_and_again_for_changed_shards(kind, place, data, monkeypatch):
    formats.WRITERS[kind][1](place, "train", data)
    tables, _ = _tables(place, kind)
    with monkeypatch.context() as patch:
        patch.setattr(tfrecord, "masked_checksum", None)
        patch.setattr(tarfile, "open", None)
        again, _ = _tables(place, kind)
    assert again["train"].digest() == tables["train"].digest()
    formats.WRITERS[kind][1](place, "train", formats.examples(20))
    assert len(_tables(place, kind)[0]["train"]) == 20


def test_a_compressed_archive_is_read(place, data):
    np.savez_compressed(place / "train.npz", images=data.images, labels=data.labels)
    np.testing.assert_array_equal(_tables(place, "npz")[0]["train"][3].content, data.images[3])


def test_a_parsed_example_is_the_one_that_protobuf_wrote(data):
    parsed = _example.parse(formats.example(data.encoded[0], 2**40))
    assert parsed == {"image": [data.encoded[0]], "label": [2**40], "score": []}
    features = {"image": [b"a", b""], "label": [0, -1, 300, -(2**63)]}
    assert _example.parse(_example.serialize(features)) == features


def test_checksums_are_those_of_the_published_check_value():
    pytest.importorskip("google_crc32c")
    assert formats.crc32c(b"123456789") == 0xE3069283  # RFC 3720
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    assert tfrecord.masked_checksum(b"123456789") == masked


def test_an_empty_class_folder_is_named(place, data):
    formats.write_folder(place, "train", data)
    (place / "train/dog").mkdir()
    (place / "train/dog/notes.txt").write_text("")
    assert _message(place, "folder") == (
        f"{place}/train/dog: must contain images (.jpg, .jpeg, .png, .webp, .bmp, .gif), "
        "got an empty class"
    )


def test_a_single_class_is_an_error(place, data):
    formats.write_folder(place, "train", formats.Examples(data.images[:3], data.labels[:3]))
    assert "must contain at least 2 classes" in _message(place, "folder")


@pytest.mark.parametrize("kind", formats.WRITERS)
def test_a_directory_without_examples_is_an_error(kind, place, data):
    assert "must contain a training split" in _message(place, kind)
    formats.WRITERS[kind][1](place, "val", data)
    assert "got" in _message(place, kind)
    assert "with only val" in _message(place, kind)
    assert "must be an existing path" in _message(place / "absent", kind)


def test_a_loop_of_links_is_an_error(place, data):
    formats.write_folder(place, "train", data)
    (place / "train/ant/more").symlink_to(place / "train/ant")
    assert _message(place, "folder").endswith("is a symbolic link to a folder that contains it")
    (place / "train/ant/more").unlink()
    (place / "train/ant/self.png").symlink_to("self.png")
    assert "symbolic links" in _message(place, "folder")


def test_a_folder_without_permission_is_named(place, data, monkeypatch):
    formats.write_folder(place, "train", data)
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("bee"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(folder.os, "scandir", refuse)
    assert _message(place, "folder") == f"{place}/train/bee: Permission denied"


@pytest.mark.parametrize("kind", ["list", "npz", "tfrecord", "array_record", "parquet"])
def test_a_missing_column_is_named_along_with_the_others(kind, place, data):
    formats.WRITERS[kind][1](place, "train", data)
    message = _message(place, kind, Columns(label="breed"))
    assert "'breed'" in message
    assert "label" in message.split("got")[1]


def test_a_label_outside_the_classes_is_an_error(place, data):
    formats.write_npz(place, "train", data)
    formats.write_npz(place, "test", formats.Examples(data.images, data.labels + 1))
    message = _message(place, "npz")
    assert message == ("test.npz[8]: the label must be in [0, 3), got 3 (4 of 12 examples)")
    formats.write_npz(place, "train", formats.Examples(data.images, data.labels - 1))
    assert "must be in [0, 2), got -1" in _message(place, "npz")


@pytest.mark.parametrize("kind", ["tar", "tfrecord", "array_record", "parquet", "npz", "npy"])
def test_a_file_that_is_cut_short_is_an_error(kind, place, data):
    formats.WRITERS[kind][1](place, "train", data)
    path = max(place.iterdir())
    content = path.read_bytes()
    for cut in range(0, len(content) - 1, max(len(content) // 60, 1)):
        path.write_bytes(content[:cut])
        try:
            tables, _ = _tables(place, kind)
        except InputError as error:
            assert str(path) in str(error)  # noqa: PT017
            assert kind != "array_record" or "is cut short or corrupt" in str(error)  # noqa: PT017
        else:  # a tar file ends with some thousand zeros
            assert kind == "tar"
            assert len(tables["train"]) == 12
            assert not any(content[cut:])


def test_a_damaged_row_group_is_an_error_of_its_images(place, data):
    formats.write_parquet(place, "train", data)
    path = max(place.iterdir())
    content = bytearray(path.read_bytes())
    metadata = pytest.importorskip("pyarrow.parquet").ParquetFile(path).metadata
    column = metadata.row_group(1).column(0)  # rows 5 to 9
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + 30] = bytes(30)
    path.write_bytes(content)
    tables, _ = _tables(place, "parquet")
    assert tables["train"][0].content == data.encoded[0]
    with pytest.raises(InputError, match=f"^{path}: must be an intact Parquet file") as error:
        tables["train"][7]
    assert "\n" not in str(error.value)


def test_a_tar_without_its_end_is_an_error(place, data):
    formats.write_tar(place, "train", data)
    path = max(place.iterdir())
    with tarfile.open(path) as file:
        end = max(member.offset_data + 512 for member in file)
    path.write_bytes(path.read_bytes()[:end])
    assert "its end-of-archive mark is missing" in _message(place, "tar")


def test_a_compressed_tar_is_an_error(place, data):
    with tarfile.open(place / "train.tar", "w:gz") as file:
        formats.add_member(file, "1.png", data.encoded[0])
    assert "must be an uncompressed tar file" in _message(place, "tar")


def test_duplicate_and_incomplete_examples_of_a_tar_are_errors(place, data):
    with tarfile.open(place / "train.tar", "w") as file:
        formats.add_member(file, "1.png", data.encoded[0])
    assert "example '1' must have a label (.cls or .json)" in _message(place, "tar")
    with tarfile.open(place / "train.tar", "a") as file:
        formats.add_member(file, "1.png", data.encoded[0])
    assert "must have each example once, got two 1.png" in _message(place, "tar")


def test_a_wrong_checksum_is_an_error_before_and_after_indexing(place, data):
    formats.write_tfrecord(place, "train", data)
    path = max(place.iterdir())
    tables, _ = _tables(place, "tfrecord")
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="the CRC of the record is wrong"):
        tables["train"][6]
    assert _message(place, "tfrecord") == f"{path}:0: the CRC of the record is wrong"
    content[3] ^= 1
    path.write_bytes(content)
    assert _message(place, "tfrecord") == f"{path}:0: the CRC of the record's length is wrong"


def test_a_wrong_checksum_of_an_array_record_is_an_error(place, data):
    formats.write_array_record(place, "train", data)
    path = max(place.iterdir())
    tables, _ = _tables(place, "array_record")
    content = bytearray(path.read_bytes())
    at = content.index(data.encoded[6][20:60])  # stored as it is, or the test does not apply
    content[at + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="is cut short or corrupt") as error:
        tables["train"][6]
    assert "\n" not in str(error.value)
    assert "is cut short or corrupt" in _message(place, "array_record")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
@pytest.mark.parametrize("kind", sorted(formats.WRITERS.keys() - {"folder"}))
def test_a_file_without_permission_is_named(kind, place, data):
    formats.WRITERS[kind][1](place, "train", data)
    path = max(path for path in place.iterdir() if path.suffix != ".png")
    path.chmod(0)
    assert _message(place, kind) == f"{path}: Permission denied"


@pytest.mark.parametrize("kind", sorted(formats.WRITERS.keys() - {"folder", "list"}))
def test_a_file_that_cannot_be_opened_is_named(kind, place, data):
    formats.WRITERS[kind][1](place, "train", data)
    path = max(place.iterdir())
    path.unlink()
    path.symlink_to(path.name)
    assert _message(place, kind) == f"{path}: Too many levels of symbolic links"


def test_a_record_that_is_no_example_is_an_error(place):
    pytest.importorskip("google_crc32c")
    (place / "train.tfrecord").write_bytes(formats.tfrecord([b"\x0a\xffabc"]))
    assert "must be a tf.train.Example (a field is cut short)" in _message(place, "tfrecord")


def test_a_split_without_examples_is_an_error(place):
    (place / "train.csv").write_text("image,label\na,0\nb,1\n")
    (place / "val.csv").write_text("image,label\n")
    assert "must contain val examples" in _message(place, "list")


def test_lists_that_are_no_text_are_errors(place):
    (place / "train.jsonl").write_text("[1]\n")
    assert _message(place, "list") == f"{place}/train.jsonl:1: must be a JSON object"
    (place / "train.jsonl").write_bytes(b"\xff\xfe")
    assert "must be a list in UTF-8" in _message(place, "list")
    (place / "train.csv").write_text("image,label\n")
    assert "must contain one list for each split" in _message(place, "list")


def test_arrays_of_another_dtype_are_errors(place, data):
    np.savez(place / "train.npz", images=data.images / 255, labels=data.labels)
    assert "the images must be uint8 [n, height, width, channels]" in _message(place, "npz")
    np.savez(place / "train.npz", images=data.images, labels=data.labels[:5])
    assert "the labels must be 12 integers, got int64 [5]" in _message(place, "npz")
    np.savez(place / "train.npz", images=data.images, labels=data.labels.astype(object))
    assert "must hold NumPy arrays of numbers" in _message(place, "npz")


def test_a_missing_package_is_named():
    with pytest.raises(InputError, match="need the package no-such, which is not installed: pip"):
        _optional.require("no_such", "no-such")


def test_split_names_are_whole_words(place):
    for name in ("trainer", "val2", "validity", "train-1", "test.old", "valid"):
        (place / f"{name}.csv").write_text("image,label\na,0\nb,1\n")
    tables, _ = _tables(place, "list")
    assert set(tables) == set(table.SPLITS)
    (place / "train_2.csv").write_text("image,label\n")
    assert _message(place, "list").endswith("with train-1.csv, train_2.csv")
