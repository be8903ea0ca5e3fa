"""Writers of one tiny set of images in every format that a source reads, for tests."""

import csv
import functools
import io
import json
import struct
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

CLASS_NAMES = ("ant", "bee", "cat")


class Examples(NamedTuple):
    """Images `[n, height, width, 3]` with class numbers, sorted by class."""

    images: np.ndarray
    labels: np.ndarray

    @property
    def encoded(self) -> list[bytes]:
        """The images as PNG files."""
        return [png(image) for image in self.images]


def png(image: np.ndarray, **options) -> bytes:
    """Encodes an image."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, options.pop("format", "PNG"), **options)
    return stream.getvalue()


def examples(count: int, *, seed: int = 0, size: int = 6) -> Examples:
    """Random images in three classes, which all occur."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return Examples(images, np.sort(np.arange(count) % 3))


def write_folder(directory: Path, split: str, data: Examples) -> None:
    for number, (content, label) in enumerate(zip(data.encoded, data.labels, strict=True)):
        path = directory / split / CLASS_NAMES[label] / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_list(directory: Path, split: str, data: Examples) -> None:
    with (directory / f"{split}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label"])
        for number, (content, label) in enumerate(zip(data.encoded, data.labels, strict=True)):
            (directory / f"{split}{number}.png").write_bytes(content)
            writer.writerow([f"{split}{number}.png", label])


def write_tar(directory: Path, split: str, data: Examples) -> None:
    half = len(data.labels) // 2
    for shard, part in enumerate((slice(half), slice(half, None))):
        with tarfile.open(directory / f"{split}-{shard:05d}.tar", "w") as file:
            members = zip(data.encoded[part], data.labels[part], strict=True)
            for number, (content, label) in enumerate(members):
                add_member(file, f"{number:05d}.png", content)
                add_member(file, f"{number:05d}.cls", str(label).encode())


def add_member(file: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    file.addfile(member, io.BytesIO(content))


def write_npz(directory: Path, split: str, data: Examples) -> None:
    np.savez(directory / f"{split}.npz", images=data.images, labels=data.labels)


def write_npy(directory: Path, split: str, data: Examples) -> None:
    np.save(directory / f"{split}_images.npy", data.images)
    np.save(directory / f"{split}_labels.npy", data.labels)


def write_tfrecord(directory: Path, split: str, data: Examples) -> None:
    pytest.importorskip("google_crc32c")
    records = [example(*pair) for pair in zip(data.encoded, data.labels, strict=True)]
    half = len(records) // 2
    for shard, part in enumerate((records[:half], records[half:])):
        path = directory / f"{split}.tfrecord-{shard:05d}-of-00002"
        path.write_bytes(tfrecord(part))


def write_array_record(directory: Path, split: str, data: Examples) -> None:
    module = pytest.importorskip("array_record.python.array_record_module")
    writer = module.ArrayRecordWriter(str(directory / f"{split}.array_record"), "group_size:1")
    for pair in zip(data.encoded, data.labels, strict=True):
        writer.write(example(*pair))
    writer.close()


def write_parquet(directory: Path, split: str, data: Examples) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    images = [{"bytes": content, "path": None} for content in data.encoded]
    table = pyarrow.table({"image": images, "label": data.labels})
    names = {"label": {"names": list(CLASS_NAMES), "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": names}})}
    path = directory / f"{split}-00000-of-00001.parquet"
    parquet.write_table(table.replace_schema_metadata(metadata), path, row_group_size=5)


WRITERS: Mapping[str, tuple[str, Callable[[Path, str, Examples], None]]] = {
    "folder": ("folder", write_folder),
    "list": ("list", write_list),
    "tar": ("tar", write_tar),
    "npz": ("arrays", write_npz),
    "npy": ("arrays", write_npy),
    "tfrecord": ("tfrecord", write_tfrecord),
    "array_record": ("array_record", write_array_record),
    "parquet": ("parquet", write_parquet),
}


def example(image: bytes, label: int) -> bytes:
    """A `tf.train.Example`, written by the protobuf library."""
    written = _example_class()()
    written.features.feature["image"].bytes_list.value.append(image)
    written.features.feature["label"].int64_list.value.append(int(label))
    written.features.feature["score"].float_list.value.extend([0.5, 2.0])
    return written.SerializeToString()


@functools.cache
def _example_class():
    pool = pytest.importorskip("google.protobuf.descriptor_pool")
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    factory = pytest.importorskip("google.protobuf.message_factory")
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto

    def message(name, *fields):
        added = file.message_type.add(name=name)
        for field, number, kind, repeated, type_name in fields:
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            added.field.add(
                name=field, number=number, type=kind, label=label, type_name=type_name or None
            )
        return added

    message("BytesList", ("value", 1, kinds.TYPE_BYTES, True, ""))
    message("FloatList", ("value", 1, kinds.TYPE_FLOAT, True, ""))
    message("Int64List", ("value", 1, kinds.TYPE_INT64, True, ""))
    message(
        "Feature",
        ("bytes_list", 1, kinds.TYPE_MESSAGE, False, ".t.BytesList"),
        ("float_list", 2, kinds.TYPE_MESSAGE, False, ".t.FloatList"),
        ("int64_list", 3, kinds.TYPE_MESSAGE, False, ".t.Int64List"),
    )
    entry = ".t.Features.FeatureEntry"
    features = message("Features", ("feature", 1, kinds.TYPE_MESSAGE, True, entry))
    nested = features.nested_type.add(name="FeatureEntry")
    nested.options.map_entry = True
    nested.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    nested.field.add(
        name="value",
        number=2,
        type=kinds.TYPE_MESSAGE,
        label=kinds.LABEL_OPTIONAL,
        type_name=".t.Feature",
    )
    message("Example", ("features", 1, kinds.TYPE_MESSAGE, False, ".t.Features"))
    messages = pool.DescriptorPool()
    messages.Add(file)
    return factory.GetMessageClass(messages.FindMessageTypeByName("t.Example"))


def tfrecord(records: Sequence[bytes]) -> bytes:
    """The content of a TFRecord file."""

    def checksum(content: bytes) -> int:
        crc = crc32c(content)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    parts = []
    for record in records:
        length = struct.pack("<Q", len(record))
        parts += [length, struct.pack("<I", checksum(length))]
        parts += [record, struct.pack("<I", checksum(record))]
    return b"".join(parts)


def crc32c(content: bytes) -> int:
    """The CRC of RFC 3720, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF
