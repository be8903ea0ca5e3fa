"""Parses and writes `tf.train.Example`, a protocol buffer, without TensorFlow.

    message Example   { Features features = 1; }
    message Features  { map<string, Feature> feature = 1; }
    message Feature   { BytesList bytes_list = 1; Int64List int64_list = 3; }

Each list has its values in field 1. A `FloatList float_list = 2` is skipped.

References:
  Protocol Buffers, "Encoding"; `tensorflow/core/example/feature.proto`.
"""

from collections.abc import Iterator, Mapping, Sequence

from jaxml.data.sources.table import Columns
from jaxml.errors import InputError

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5  # kinds of fields
_BYTES_LIST, _INT64_LIST = 1, 3
_IMAGENET = {"image": "image/encoded", "label": "image/class/label"}

Value = bytes | int


def parse(record: bytes) -> dict[str, list[Value]]:
    """Returns the features of an example by name.

    Raises:
      ValueError: the record is not such a message.

    Example:
      >>> parse(serialize({"label": [3], "image": [b"jpeg"]}))
      {'label': [3], 'image': [b'jpeg']}
    """
    features: dict[str, list[Value]] = {}
    all_features = _messages(memoryview(record), 1)
    for entry in (entry for message in all_features for entry in _messages(message, 1)):
        key, feature = b"", memoryview(b"")
        for number, value in _fields(entry):
            if number == 1:
                key = bytes(_message(value))
            elif number == 2:
                feature = _message(value)
        features[key.decode()] = _values(feature)
    return features


def serialize(features: Mapping[str, Sequence[Value]]) -> bytes:
    """Returns the message of an example; the inverse of `parse`."""
    entries = b""
    for name, values in features.items():
        if all(isinstance(value, int) for value in values):
            numbers = b"".join(_to_varint(value % 2**64) for value in values if type(value) is int)
            feature = _field(_INT64_LIST, _field(1, numbers))
        else:
            items = (_field(1, value) for value in values if isinstance(value, bytes))
            feature = _field(_BYTES_LIST, b"".join(items))
        entries += _field(1, _field(1, name.encode()) + _field(2, feature))
    return _field(1, entries)


def image_and_label(record: bytes, columns: Columns, where: str) -> tuple[bytes, str]:
    """Returns the encoded image and the label of an example.

    The default columns also stand for the features of TensorFlow's converters of ImageNet.

    Raises:
      InputError: the record is not a message, or lacks a feature.
    """
    try:
        features = parse(record)
    except ValueError as error:
        raise InputError(f"{where}: must be a tf.train.Example ({error})") from None
    found = []
    for column in columns:
        name = column if column in features else _IMAGENET.get(column, column)
        if len(features.get(name, ())) != 1:
            known = ", ".join(f"{name!r} with {len(features[name])}" for name in features)
            raise InputError(f"{where}: feature {column!r} must have one value, got {known}")
        found.append(features[name][0])
    image, label = found
    if not isinstance(image, bytes):
        raise InputError(f"{where}: feature {columns.image!r} must be bytes, got an integer")
    return image, label.decode(errors="replace") if isinstance(label, bytes) else str(label)


def _values(feature: memoryview) -> list[Value]:
    values: list[Value] = []
    for number, content in _fields(feature):
        for inner, value in _fields(_message(content)):
            if inner != 1:
                continue
            if number == _BYTES_LIST:
                values.append(bytes(_message(value)))
            elif number == _INT64_LIST:
                values += map(_signed, [value] if isinstance(value, int) else _varints(value))
    return values


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """Yields the messages in the fields with a number."""
    for number, value in _fields(message):
        if number == wanted:
            yield _message(value)


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number in place of a message")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields the number and value of each field; fixed-length values are skipped."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, value
        elif kind in (_LENGTH, _FIXED32, _FIXED64):
            size = {_FIXED32: 4, _FIXED64: 8}.get(kind, 0)
            if kind == _LENGTH:
                size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("a field is cut short")
            if kind == _LENGTH:
                yield number, message[at : at + size]
            at += size
        else:
            raise ValueError(f"a field of unknown kind {kind}")


def _varints(packed: memoryview) -> Iterator[int]:
    at = 0
    while at < len(packed):
        value, at = _varint(packed, at)
        yield value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Returns the number at a position, seven bits a byte, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("a number is cut short")
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number has more than 64 bits")


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _to_varint(value: int) -> bytes:
    content = bytearray()
    while value > 127:
        content.append(value & 127 | 128)
        value >>= 7
    return bytes([*content, value])


def _field(number: int, content: bytes) -> bytes:
    return _to_varint(number << 3 | _LENGTH) + _to_varint(len(content)) + content
