"""libsvm's text format against scikit-learn, and the error of each damaged file."""

import bz2
import gzip
import lzma
import re
import tracemalloc

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import sparse
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from jaxml.errors import InputError
from jaxml.svm.files import (
    Extent,
    _compression,
    _examples,
    read_example_blocks,
    read_examples,
    scan_examples,
    write_examples,
)
from tests import properties

PACKERS = {"plain": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}
TWO = "+1 1:0.5 3:2\n-1 2:1\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def assert_same(examples, x, labels):
    """The matrix as SciPy has it, stored entry by stored entry."""
    expected = sparse.csr_array(x if sparse.issparse(x) else np.asarray(x, examples.x.dtype))
    assert examples.x.shape == expected.shape
    assert examples.x.indices.dtype == np.int32
    np.testing.assert_array_equal(examples.x.indptr, expected.indptr)
    np.testing.assert_array_equal(examples.x.indices, expected.indices)
    np.testing.assert_array_equal(examples.x.data, expected.data, strict=True)
    np.testing.assert_array_equal(examples.labels, np.asarray(labels, np.float64), strict=True)


def refusal(function, *arguments, **settings):
    """The message of the error, which is one line."""
    with pytest.raises(InputError) as error:
        function(*arguments, **settings)
    assert str(error.value).isprintable()
    return str(error.value)


def sample(rows, features, density=0.3, seed=0):
    rng = np.random.default_rng(seed)
    kept = rng.random((rows, features)) < density
    scale = 10.0 ** rng.integers(-30, 30, (rows, features))
    return kept * rng.normal(size=(rows, features)) * scale, rng.integers(-3, 4, rows)


def test_a_small_file(path):
    path.write_text("# head\n\n+1 1:0.5 3:2 # first\n   \n-1\t 2:1.5e2  \r\n2.5\n")
    assert_same(read_examples(path), [[0.5, 0, 2], [0, 150, 0], [0, 0, 0]], [1, -1, 2.5])


@pytest.mark.parametrize("packer", PACKERS)
def test_compression_is_detected_by_the_first_bytes(tmp_path, packer):
    path = tmp_path / "train.txt"
    path.write_bytes(PACKERS[packer](TWO.encode()))
    assert_same(read_examples(path), [[0.5, 0, 2], [0, 1, 0]], [1, -1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("zero_based", [False, True])
def test_files_of_scikit_learn_are_read_as_by_scikit_learn(path, zero_based, dtype):
    x, y = sample(60, 25)
    dump_svmlight_file(x, y, str(path), zero_based=zero_based, comment="über\nall")
    expected, labels = load_svmlight_file(
        str(path), dtype=dtype, zero_based=zero_based, n_features=25
    )
    found = read_examples(path, zero_based=zero_based, num_features=25, dtype=dtype)
    assert_same(found, expected, labels)
    assert found.x.dtype == dtype


@pytest.mark.parametrize("zero_based", [False, True])
def test_scikit_learn_reads_written_files(path, zero_based):
    x, y = sample(60, 25)
    write_examples(path, x, y, zero_based=zero_based, query_ids=np.arange(60), comment="a\nb")
    found, labels, ids = load_svmlight_file(str(path), zero_based=zero_based, query_id=True)
    np.testing.assert_array_equal(found.toarray(), x)
    np.testing.assert_array_equal(labels, y)
    np.testing.assert_array_equal(ids, np.arange(60))
    assert path.read_text().startswith("# a\n# b\n")


def matrices(dtype, width):
    values = st.floats(width=width, allow_nan=False, allow_infinity=False)
    shapes = arrays.array_shapes(min_dims=2, max_dims=2, max_side=5)
    return arrays.arrays(dtype, shapes, elements=values)


@given(matrices(np.float32, 32) | matrices(np.float64, 64), st.booleans())
def test_numbers_are_restored_to_the_last_bit(tmp_path_factory, x, zero_based):
    path = tmp_path_factory.mktemp("bits") / "file"
    labels = x[:, 0].astype(np.float64)
    write_examples(path, x, labels, zero_based=zero_based)
    found = read_examples(path, zero_based=zero_based, num_features=x.shape[1], dtype=x.dtype.type)
    assert_same(found, x, labels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_largest_number_is_restored(path, dtype):
    x = np.array([[np.finfo(dtype).max, -np.finfo(dtype).max]], dtype)
    write_examples(path, x, [1])
    assert_same(read_examples(path, dtype=dtype), x, [1])


@pytest.mark.parametrize("name", ["file", "file.gz", "file.bz2", "file.xz"])
def test_stored_entries_are_written_and_compressed_by_suffix(tmp_path, name):
    path, kinds = tmp_path / name, {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7z"}
    stored = [0.1, -0.0, 5e-324, 1.7976931348623157e308, 2**53 + 2.0]
    x = sparse.csr_matrix((stored, [4, 0, 3, 1, 2], [0, 2, 2, 5]), shape=(3, 6))
    write_examples(path, x, [0.1, 2, 3])
    assert path.read_bytes().startswith(kinds.get(path.suffix, b"0.1 1:-0 5:0.1\n"))
    found = read_examples(path, num_features=6)
    x.sort_indices()
    assert_same(found, x, [0.1, 2, 3])
    assert np.signbit(found.x.data).tolist() == np.signbit(x.data).tolist()


def test_all_dtypes_are_written(path):
    for dtype in (bool, np.int8, np.uint64, np.float16, np.float32, jnp.bfloat16):
        write_examples(
            path, jnp.ones((1, 2), dtype) if dtype is jnp.bfloat16 else np.ones((1, 2), dtype), [3]
        )
        assert path.read_text() == "3 1:1 2:1\n"
    write_examples(path, sparse.coo_array(([1.0, 2.5], ([0, 0], [1, 1])), shape=(1, 2)), [3])
    assert path.read_text() == "3 2:3.5\n", "as SciPy has it, entries of one place are summed"
    write_examples(path, np.full((1, 1), 0.1, np.float32), np.full(1, 0.1, np.float32))
    assert path.read_text() == "0.1 1:0.1\n"


def test_many_rows_are_written_and_read_in_blocks(path, monkeypatch):
    monkeypatch.setattr(_compression, "_BLOCK", 1000)
    x, y = sample(200, 10)
    monkeypatch.setattr(_examples, "_BLOCK_ROWS", 7)
    write_examples(path, x, y, query_ids=np.arange(200))
    found = read_examples(path, num_features=10, query_id=True)
    assert_same(found, x, y)
    np.testing.assert_array_equal(found.query_ids, np.arange(200), strict=True)


@pytest.mark.parametrize("rows", [1, 3, 50, 199, 200, 1000])
def test_blocks_concatenate_to_the_file(path, monkeypatch, rows):
    monkeypatch.setattr(_compression, "_BLOCK", 700)
    x, y = sample(200, 10)
    x[:, -1] = 0
    write_examples(path, x, y, query_ids=np.arange(200))
    blocks = list(read_example_blocks(path, rows, query_id=True))
    assert [len(b.labels) for b in blocks[:-1]] == [rows] * (len(blocks) - 1)
    assert 0 < len(blocks[-1].labels) <= rows
    whole = sparse.vstack([block.x for block in blocks]).toarray()
    np.testing.assert_array_equal(whole, x[:, :-1])
    np.testing.assert_array_equal(np.concatenate([b.labels for b in blocks]), y)
    np.testing.assert_array_equal(
        np.concatenate([np.asarray(b.query_ids) for b in blocks]), np.arange(200)
    )
    assert scan_examples(path) == Extent(200, 9, int(np.count_nonzero(x)), False, True)
    given = next(read_example_blocks(path, rows, num_features=12, zero_based=True))
    assert given.x.shape == (min(rows, 200), 12)
    np.testing.assert_array_equal(given.x.toarray()[:, 1:10], x[:rows, :9])


@pytest.mark.slow
def test_reading_blocks_needs_little_memory(path, monkeypatch):
    monkeypatch.setattr(_compression, "_BLOCK", 1 << 16)
    row = b"1 " + b" ".join(b"%d:1" % i for i in range(1, 101)) + b"\n"
    path.write_bytes(gzip.compress(row * 8000))
    tracemalloc.start()
    entries = sum(block.x.nnz for block in read_example_blocks(path, 100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert entries == 800_000
    assert peak < 5e6, "all of the entries take 10 MB"


def test_the_first_index_is_detected(path):
    path.write_text("1 1:5\n")
    assert_same(read_examples(path), [[5]], [1])
    assert not read_examples(path).zero_based
    assert_same(read_examples(path, zero_based=True), [[0, 5]], [1])
    path.write_text("1 1:5\n2 0:3\n")
    assert_same(read_examples(path), [[0, 5], [3, 0]], [1, 2])
    assert read_examples(path).zero_based
    assert scan_examples(path) == Extent(2, 2, 2, True, False)
    assert [block.x.shape for block in read_example_blocks(path, 1)] == [(1, 2), (1, 2)]


def test_rows_without_features(path):
    path.write_text("1\n2\n")
    assert read_examples(path).x.shape == (2, 0)
    assert scan_examples(path).num_features == 0
    assert read_examples(path, num_features=3).x.shape == (2, 3)


def test_query_ids_are_returned_on_request(path):
    path.write_text("1 qid:7 3:1\n# qid:5\n2 qid:999999999999999\n")
    found = read_examples(path, query_id=True)
    np.testing.assert_array_equal(found.query_ids, [7, 999999999999999], strict=True)
    assert_same(found, [[0, 0, 1], [0, 0, 0]], [1, 2])
    assert read_examples(path).query_ids is None
    path.write_text(TWO)
    assert refusal(read_examples, path, query_id=True) == (
        f"{path}: lines must have a qid for query_id=True"
    )


MALFORMED = {
    "1 1": "feature must be index:value, got '1'",
    "1 a:1": "feature must be index:value, got 'a:1'",
    "1 1.5:1": "feature must be index:value, got '1.5:1'",
    "1 -1:1": "feature must be index:value, got '-1:1'",
    "1 :1": "feature must be index:value, got ':1'",
    "1 1: 2": "value must be a finite float64, got '1:'",
    "1 : 1:2": "feature must be index:value, got ':'",
    "1:2 3": "a label is missing before '1:2'",
    "1 1 :2": "feature must be index:value, got '1'",
    "1e400 1:1": "label must be a finite number, got '1e400'",
    "1 1: 2:3": "value must be a finite float64, got '1:'",
    "1 1:2:3": "value must be a finite float64, got '1:2:3'",
    "1 1:2:3 4": "value must be a finite float64, got '1:2:3'",
    "1 1:nan": "value must be a finite float64, got '1:nan'",
    "1 1:-inf": "value must be a finite float64, got '1:-inf'",
    "1 1:1e400": "value must be a finite float64, got '1:1e400'",
    "1 1:1_0": "value must be a finite float64, got '1:1_0'",
    "1 1:0x1": "value must be a finite float64, got '1:0x1'",
    "1 1:1-2": "value must be a finite float64, got '1:1-2'",
    "1 1:2-3 2:e": "value must be a finite float64, got '1:2-3'",
    "1 2:1 1:1": "indices must increase, got '1:1' after index 2",
    "1 2:1 2:1": "indices must increase, got '2:1' after index 2",
    "1 2147483648:1": "index must be <= 2147483647, got '2147483648:1'",
    "1 999999999999999:1": "index must be <= 2147483647, got '999999999999999:1'",
    "1 99999999999999999999:1": "feature must be index:value, got '99999999999999999999:1'",
    "1:1 2:1": "a label is missing before '1:1'",
    "x 1:1": "label must be a finite number, got 'x'",
    "nan 1:1": "label must be a finite number, got 'nan'",
    "1,2 1:1": "label must be a finite number, got '1,2'",
    "1 qid:1 1:1": "a qid, unlike the other lines",
    "1 1:1\r-1 1:2": "feature must be index:value, got '-1'",
    "1 1:1 \0": "feature must be index:value, got '\\x00'",
    "1 1:\xe4\x9f\xa5": "value must be a finite float64, got '1:\\xe4\\x9f\\xa5'",
    "1 " + "x" * 99: f"feature must be index:value, got '{'x' * 45}...'",
}


@pytest.mark.parametrize("line", MALFORMED)
def test_the_first_malformed_line_is_named(path, monkeypatch, line):
    text = f"1 1:1\n# not this: x\n\n{line}\n2 3:nan\n"
    for block in (1 << 20, 5):
        monkeypatch.setattr(_compression, "_BLOCK", block)
        path.write_bytes(text.encode("latin-1"))
        assert refusal(read_examples, path) == f"{path}, line 4: {MALFORMED[line]}"
    assert refusal(scan_examples, path) == f"{path}, line 4: {MALFORMED[line]}"


@pytest.mark.parametrize(
    ("text", "settings", "problem"),
    [
        ("1 1:1\n2 0:1\n", {"zero_based": False}, "line 2: index must be >= 1, got '0:1'"),
        ("1 1:1\n2 5:1\n", {"num_features": 4}, "line 2: index must be <= 4, got '5:1'"),
        ("1 4:1\n2 0:1\n", {"num_features": 4}, "line 1: index must be <= 3, got '4:1'"),
        (
            "1 3:1\n2 4:1\n",
            {"num_features": 4, "zero_based": True},
            "line 2: index must be <= 3, got '4:1'",
        ),
        (
            "1 1:3e39\n",
            {"dtype": np.float32},
            "line 1: value must be a finite float32, got '1:3e39'",
        ),
        ("1 qid:1\n2 1:1\n", {}, "line 2: no qid, unlike the other lines"),
        ("1 qid:1\n2\n", {}, "line 2: no qid, unlike the other lines"),
        ("1 3 2:\n", {}, "line 1: feature must be index:value, got '3'"),
        ("1 qid:x\n", {}, "line 1: qid must be an integer of at most 15 digits, got 'qid:x'"),
        ("1 qid:-1\n", {}, "line 1: qid must be an integer of at most 15 digits, got 'qid:-1'"),
        ("1 qid:1 qid:2\n", {}, "line 1: feature must be index:value, got 'qid:2'"),
        ("1 1:1 qid:2\n", {}, "line 1: feature must be index:value, got 'qid:2'"),
        ("1 3qid:2\n", {}, "line 1: feature must be index:value, got '3qid:2'"),
    ],
)
def test_lines_that_contradict_arguments_or_other_lines(path, monkeypatch, text, settings, problem):
    for block in (1 << 20, 3):
        monkeypatch.setattr(_compression, "_BLOCK", block)
        path.write_text(text)
        assert refusal(read_examples, path, **settings).startswith(f"{path}, {problem}")
        assert refusal(lambda: list(read_example_blocks(path, 1, **settings))).startswith(
            f"{path}, {problem}"
        )


@given(
    st.lists(st.sampled_from(["1", "-2.5", " ", "\n", ":", "#", "qid:", "3", "e", "+", "\0"])),
    st.sampled_from([None, True, False]),
)
def test_damaged_files_are_rejected_or_read_as_by_scikit_learn(
    tmp_path_factory, pieces, zero_based
):
    path = tmp_path_factory.mktemp("damage") / "file"
    path.write_text("1 2:3 5:4\n" + "".join(pieces) + "\n2 1:3\n")
    found, told = None, ""
    try:
        found = read_examples(path, zero_based=zero_based)
    except InputError as error:
        told = str(error)
    if found:
        based = "auto" if zero_based is None else zero_based
        assert_same(found, *load_svmlight_file(str(path), zero_based=based))
    else:
        assert re.fullmatch(rf"{path}, line \d+: .+", told)


@pytest.mark.parametrize("packer", ["gzip", "bzip2", "xz"])
def test_a_truncated_compressed_file_is_rejected(path, packer):
    content = PACKERS[packer](TWO.encode())
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert refusal(read_examples, path).startswith(f"{path}")
    path.write_bytes(content[: len(content) // 2])
    assert refusal(read_examples, path) == f"{path}: the compressed file is truncated"


@pytest.mark.parametrize("packer", ["gzip", "bzip2", "xz"])
def test_a_damaged_compressed_file_is_rejected(path, packer):
    content = bytearray(PACKERS[packer](TWO.encode()))
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert refusal(read_examples, path).startswith(f"{path}")


def test_missing_empty_and_binary_files_are_rejected(path, monkeypatch):
    assert refusal(read_examples, path) == f"{path}: No such file or directory"
    assert refusal(read_examples, path.parent) == f"{path.parent}: Is a directory"
    for text in ("", "\n# only this\n"):
        path.write_text(text)
        assert refusal(read_examples, path) == f"{path}: there must be at least one example"
        assert (
            refusal(lambda: list(read_example_blocks(path, 1)))
            == f"{path}: there must be at least one example"
        )
    path.write_bytes(np.random.default_rng(0).bytes(100_000))
    assert refusal(read_examples, path).startswith(f"{path}, line 1: ")
    monkeypatch.setattr(_compression, "LONGEST_LINE", 1 << 21)
    path.write_bytes(gzip.compress(b"1" * (1 << 23)))
    assert refusal(read_examples, path) == f"{path}: lines must have at most {1 << 21} bytes"


def test_a_file_that_cannot_be_written_is_an_error(tmp_path):
    assert refusal(write_examples, tmp_path / "no" / "file", [[1.0]], [1]) == (
        f"{tmp_path / 'no' / 'file'}: cannot be written (No such file or directory)"
    )


def test_a_failed_write_leaves_the_existing_file(path):
    path.write_text("before")
    with pytest.raises(ValueError, match="finite"):
        write_examples(path, [[np.inf]], [1])
    assert path.read_text() == "before"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("x", "y", "settings", "error", "message"),
    [
        ([1.0], [1], {}, ValueError, "`x` must have shape [n, features], got (1,)"),
        ([[1.0]], [1, 2], {}, ValueError, "`y` must have shape (1,) for x (1, 1), got (2,)"),
        ([[1.0]], [[1]], {}, ValueError, "`y` must have shape (1,) for x (1, 1), got (1, 1)"),
        ([[np.nan]], [1], {}, ValueError, "`x` must be finite"),
        ([[1.0]], [np.inf], {}, ValueError, "`y` must be finite"),
        ([[1j]], [1], {}, TypeError, "`x` must be real numbers, got complex128"),
        ([[1.0]], ["a"], {}, TypeError, "`y` must be real numbers, got <U1"),
        ([[1.0]], [1], {"query_ids": [1, 2]}, ValueError, "`query_ids` must have shape (1,) for x"),
        (
            [[1.0]],
            [1],
            {"query_ids": [-1]},
            ValueError,
            "`query_ids` must be integers from 0 to 10^15",
        ),
        (
            [[1.0]],
            [1],
            {"query_ids": [0.5]},
            ValueError,
            "`query_ids` must be integers from 0 to 10^15",
        ),
    ],
)
def test_arrays_that_cannot_be_written(path, x, y, settings, error, message):
    with properties.unchecked(), pytest.raises(error, match=re.escape(message)):
        write_examples(path, x, y, **settings)
    assert not path.exists()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: read_examples(path, num_features=0), "`num_features` must be >= 1, got 0"),
        (
            lambda path: read_examples(path, dtype=np.float16),
            "`dtype` must be float32 or float64, got ",
        ),
        (lambda path: read_example_blocks(path, 0), "`rows` must be >= 1, got 0"),
    ],
)
def test_arguments_out_of_range(path, call, message):
    path.write_text(TWO)
    with pytest.raises(ValueError, match=message):
        call(path)
