"""Safetensors files: what the library writes, what it reads of ours, damage."""

import os
import stat

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from jaxml.errors import InputError
from jaxml.weights import _safetensors_file
from tests.weights import refusals

FLOATS = ["float16", "float32", "float64", "int64", "int32", "uint8", "bool"]


def example(dtype, *shape):
    return (np.arange(np.prod(shape, dtype=int)) - 2).reshape(shape).astype(dtype)


def refused(path):
    return refusals.refused(_safetensors_file.read, path)


@pytest.mark.parametrize("dtype", FLOATS)
def test_what_is_written_is_read(tmp_path, dtype):
    path = tmp_path / "a.safetensors"
    tensors = {"b.weight": example(dtype, 2, 3), "a": example(dtype), "none": example(dtype, 0, 3)}
    _safetensors_file.write(path, tensors, {"model": "resnet", "ä": "\n"})
    read, metadata = _safetensors_file.read(path)
    assert list(read) == ["a", "b.weight", "none"]
    assert metadata == {"model": "resnet", "ä": "\n"}
    for name, array in safetensors.numpy.load_file(path).items():
        np.testing.assert_array_equal(array, tensors[name], strict=True)
        np.testing.assert_array_equal(read[name], tensors[name], strict=True)
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_bfloat16_is_written_as_it_is_and_read_as_float32(tmp_path):
    path = tmp_path / "a.safetensors"
    array = np.asarray([0.1, -3e38, 1e-40, np.inf], ml_dtypes.bfloat16)
    _safetensors_file.write(path, {"x": array}, {})
    assert b'"BF16"' in path.read_bytes()
    expected = array.astype(np.float32)
    np.testing.assert_array_equal(_safetensors_file.read(path)[0]["x"], expected, strict=True)


def test_torch_agrees(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    path = tmp_path / "a.safetensors"
    tensors = {"f": torch.randn(2, 3), "h": torch.randn(2).half(), "b": torch.randn(2).bfloat16()}
    save_file(tensors, path)
    read, metadata = _safetensors_file.read(path)
    assert metadata == {}
    for name, tensor in tensors.items():
        expected = tensor.float() if name == "b" else tensor
        np.testing.assert_array_equal(read[name], expected.numpy(), strict=True)
    _safetensors_file.write(path, {"x": np.ones((2, 3), np.float32)}, {})
    assert load_file(path)["x"].equal(torch.ones(2, 3))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.arange(12.0)[::-2],
        np.broadcast_to(np.arange(3.0), (2, 3)),
        np.arange(3, dtype=">f4"),
    ],
    ids=["transposed", "strided", "broadcast", "big-endian"],
)
def test_arrays_of_any_layout_are_written(tmp_path, array):
    path = tmp_path / "a.safetensors"
    _safetensors_file.write(path, {"x": array}, {})
    np.testing.assert_array_equal(safetensors.numpy.load_file(path)["x"], array)


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.safetensors"
    _safetensors_file.write(path, {"x": np.ones(3)}, {})
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"a\.safetensors: cannot be written \(Unknown dtype"):
        _safetensors_file.write(path, {"x": np.ones(3, complex)}, {})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]
    with pytest.raises(InputError, match=r"none/a: cannot be written \(No such file or directory"):
        _safetensors_file.write(tmp_path / "none/a", {"x": np.ones(3)}, {})
    with pytest.raises(InputError, match=r"cannot be written \(Is a directory"):
        _safetensors_file.write(tmp_path, {"x": np.ones(3)}, {})
    assert not list(tmp_path.parent.glob("*.partial"))


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    _safetensors_file.write(path, {"x": np.ones(3)}, {})
    before, synced = path.read_bytes(), []

    def fsync(descriptor):
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):  # the new name is kept, after the contents
            assert synced
            assert path.read_bytes() != before
        else:
            assert path.read_bytes() == before
            synced.append(status.st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    _safetensors_file.write(path, {"x": np.zeros(3)}, {})
    assert synced == [path.stat().st_size]
    assert not _safetensors_file.read(path)[0]["x"].any()


def test_what_cannot_be_opened_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert refused(tmp_path) == "Is a directory"
    assert refused(tmp_path / "none") == "No such file or directory"
    assert refused(tmp_path / "file/x") == "Not a directory"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "header too small"),
        (b"PK\3\4" + bytes(100), "header length"),
        (b"\xff" * 100, "header too large"),
        (b"\x02\0\0\0\0\0\0\0[]", "invalid type"),
        (b"\x02\0\0\0\0\0\0\0{\n", "invalid JSON"),
    ],
)
def test_other_files_are_told(tmp_path, content, told):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    message = refused(path)
    assert message.startswith("truncated or corrupt safetensors file (")
    assert told in message


@pytest.fixture(scope="module")
def whole():
    return safetensors.numpy.save({"a": np.ones((3, 4)), "b": np.zeros(5)}, {"model": "resnet"})


@pytest.mark.parametrize("quarter", range(4))
def test_a_truncated_file_is_told(tmp_path, whole, quarter):
    path = tmp_path / "a.safetensors"
    for length in {len(whole) * quarter // 4, len(whole) * (quarter + 1) // 4 - 1}:
        path.write_bytes(whole[:length])
        assert refused(path).startswith("truncated or corrupt safetensors file (")


@given(st.data())
def test_a_flipped_bit_of_the_header_is_told_or_harmless(tmp_path_factory, whole, data):
    header = 8 + int.from_bytes(whole[:8], "little")
    position = data.draw(st.integers(0, header - 1))
    damaged = bytearray(whole)
    damaged[position] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("flip") / "a.safetensors"
    path.write_bytes(damaged)
    try:
        tensors, _ = _safetensors_file.read(path)
    except InputError as error:
        refusals.check_message(path, error)
        return
    assert sum(array.nbytes for array in tensors.values()) <= len(whole)
