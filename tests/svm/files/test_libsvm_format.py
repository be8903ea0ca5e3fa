"""libsvm's text format against scikit-learn, and what each damaged file is refused with."""

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
from jaxml.svm.files import libsvm_format, packed_file
from jaxml.svm.files.libsvm_format import Extent, read, read_blocks, scan, write
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


def test_a_file_by_hand(path):
    path.write_text("# head\n\n+1 1:0.5 3:2 # first\n   \n-1\t 2:1.5e2  \r\n2.5\n")
    assert_same(read(path), [[0.5, 0, 2], [0, 150, 0], [0, 0, 0]], [1, -1, 2.5])


@pytest.mark.parametrize("packer", PACKERS)
def test_what_a_file_is_packed_by_is_known_by_its_first_bytes(tmp_path, packer):
    path = tmp_path / "train.txt"
    path.write_bytes(PACKERS[packer](TWO.encode()))
    assert_same(read(path), [[0.5, 0, 2], [0, 1, 0]], [1, -1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("zero_based", [False, True])
def test_what_scikit_learn_writes_is_read_as_scikit_learn_reads_it(path, zero_based, dtype):
    x, y = sample(60, 25)
    dump_svmlight_file(x, y, str(path), zero_based=zero_based, comment="über\nall")
    expected, labels = load_svmlight_file(
        str(path), dtype=dtype, zero_based=zero_based, n_features=25
    )
    found = read(path, zero_based=zero_based, num_features=25, dtype=dtype)
    assert_same(found, expected, labels)
    assert found.x.dtype == dtype


@pytest.mark.parametrize("zero_based", [False, True])
def test_scikit_learn_reads_what_is_written(path, zero_based):
    x, y = sample(60, 25)
    write(path, x, y, zero_based=zero_based, query_ids=np.arange(60), comment="a\nb")
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
def test_every_bit_comes_back(tmp_path_factory, x, zero_based):
    path = tmp_path_factory.mktemp("bits") / "file"
    labels = x[:, 0].astype(np.float64)
    write(path, x, labels, zero_based=zero_based)
    found = read(path, zero_based=zero_based, num_features=x.shape[1], dtype=x.dtype.type)
    assert_same(found, x, labels)


@pytest.mark.parametrize("name", ["file", "file.gz", "file.bz2", "file.xz"])
def test_what_a_sparse_matrix_stores_is_written_as_its_name_says(tmp_path, name):
    path, kinds = tmp_path / name, {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7z"}
    stored = [0.1, -0.0, 5e-324, 1.7976931348623157e308, 2**53 + 2.0]
    x = sparse.csr_matrix((stored, [4, 0, 3, 1, 2], [0, 2, 2, 5]), shape=(3, 6))
    write(path, x, [0.1, 2, 3])
    assert path.read_bytes().startswith(kinds.get(path.suffix, b"0.1 1:-0 5:0.1\n"))
    found = read(path, num_features=6)
    x.sort_indices()
    assert_same(found, x, [0.1, 2, 3])
    assert np.signbit(found.x.data).tolist() == np.signbit(x.data).tolist()


def test_numbers_of_any_kind_are_written(path):
    for dtype in (bool, np.int8, np.uint64, np.float16, np.float32, jnp.bfloat16):
        write(
            path, jnp.ones((1, 2), dtype) if dtype is jnp.bfloat16 else np.ones((1, 2), dtype), [3]
        )
        assert path.read_text() == "3 1:1 2:1\n"
    write(path, sparse.coo_array(([1.0, 2.5], ([0, 0], [1, 1])), shape=(1, 2)), [3])
    assert path.read_text() == "3 2:3.5\n", "as SciPy has it, entries of one place are summed"
    write(path, np.full((1, 1), 0.1, np.float32), np.full(1, 0.1, np.float32))
    assert path.read_text() == "0.1 1:0.1\n"


def test_many_rows_are_written_in_pieces_and_read_in_blocks(path, monkeypatch):
    monkeypatch.setattr(packed_file, "_BLOCK", 1000)
    x, y = sample(200, 10)
    monkeypatch.setattr(libsvm_format, "_ROWS", 7)
    write(path, x, y, query_ids=np.arange(200))
    found = read(path, num_features=10, query_id=True)
    assert_same(found, x, y)
    np.testing.assert_array_equal(found.query_ids, np.arange(200), strict=True)


@pytest.mark.parametrize("rows", [1, 3, 50, 199, 200, 1000])
def test_blocks_of_rows_are_the_file_in_pieces(path, monkeypatch, rows):
    monkeypatch.setattr(packed_file, "_BLOCK", 700)
    x, y = sample(200, 10)
    x[:, -1] = 0
    write(path, x, y, query_ids=np.arange(200))
    blocks = list(read_blocks(path, rows, query_id=True))
    assert [len(b.labels) for b in blocks[:-1]] == [rows] * (len(blocks) - 1)
    assert 0 < len(blocks[-1].labels) <= rows
    whole = sparse.vstack([block.x for block in blocks]).toarray()
    np.testing.assert_array_equal(whole, x[:, :-1])
    np.testing.assert_array_equal(np.concatenate([b.labels for b in blocks]), y)
    np.testing.assert_array_equal(
        np.concatenate([np.asarray(b.query_ids) for b in blocks]), np.arange(200)
    )
    assert scan(path) == Extent(200, 9, int(np.count_nonzero(x)), False, True)
    given = next(read_blocks(path, rows, num_features=12, zero_based=True))
    assert given.x.shape == (min(rows, 200), 12)
    np.testing.assert_array_equal(given.x.toarray()[:, 1:10], x[:rows, :9])


def test_a_file_is_not_held_while_its_blocks_are_read(path, monkeypatch):
    monkeypatch.setattr(packed_file, "_BLOCK", 1 << 16)
    row = b"1 " + b" ".join(b"%d:1" % i for i in range(1, 101)) + b"\n"
    path.write_bytes(gzip.compress(row * 8000))
    tracemalloc.start()
    entries = sum(block.x.nnz for block in read_blocks(path, 100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert entries == 800_000
    assert peak < 5e6, "all of the entries take 10 MB"


def test_indices_tell_whether_a_file_is_zero_based(path):
    path.write_text("1 1:5\n")
    assert_same(read(path), [[5]], [1])
    assert not read(path).zero_based
    assert_same(read(path, zero_based=True), [[0, 5]], [1])
    path.write_text("1 1:5\n2 0:3\n")
    assert_same(read(path), [[0, 5], [3, 0]], [1, 2])
    assert read(path).zero_based
    assert scan(path) == Extent(2, 2, 2, True, False)
    assert [block.x.shape for block in read_blocks(path, 1)] == [(1, 2), (1, 2)]


def test_rows_without_features(path):
    path.write_text("1\n2\n")
    assert read(path).x.shape == (2, 0)
    assert scan(path).num_features == 0
    assert read(path, num_features=3).x.shape == (2, 3)


def test_ids_of_queries_are_returned_where_asked_for(path):
    path.write_text("1 qid:7 3:1\n# qid:5\n2 qid:999999999999999\n")
    found = read(path, query_id=True)
    np.testing.assert_array_equal(found.query_ids, [7, 999999999999999], strict=True)
    assert_same(found, [[0, 0, 1], [0, 0, 0]], [1, 2])
    assert read(path).query_ids is None
    path.write_text(TWO)
    assert refusal(read, path, query_id=True) == (
        f"{path}: its lines have no qid, which was asked for"
    )


MALFORMED = {
    "1 1": "'1' is no index:value",
    "1 a:1": "'a:1' is no index:value",
    "1 1.5:1": "'1.5:1' is no index:value",
    "1 -1:1": "'-1:1' is no index:value",
    "1 :1": "':1' is no index:value",
    "1 1: 2": "'1:' has a value that is no finite float64",
    "1 : 1:2": "':' is no index:value",
    "1:2 3": "a label is missing before '1:2'",
    "1 1 :2": "'1' is no index:value",
    "1e400 1:1": "'1e400' is no finite number, and so no label",
    "1 1: 2:3": "'1:' has a value that is no finite float64",
    "1 1:2:3": "'1:2:3' has a value that is no finite float64",
    "1 1:2:3 4": "'1:2:3' has a value that is no finite float64",
    "1 1:nan": "'1:nan' has a value that is no finite float64",
    "1 1:-inf": "'1:-inf' has a value that is no finite float64",
    "1 1:1e400": "'1:1e400' has a value that is no finite float64",
    "1 1:1_0": "'1:1_0' has a value that is no finite float64",
    "1 1:0x1": "'1:0x1' has a value that is no finite float64",
    "1 1:1-2": "'1:1-2' has a value that is no finite float64",
    "1 1:2-3 2:e": "'1:2-3' has a value that is no finite float64",
    "1 2:1 1:1": "'1:1' after index 2, indices must increase",
    "1 2:1 2:1": "'2:1' after index 2, indices must increase",
    "1 2147483648:1": "'2147483648:1' has an index above 2147483647",
    "1 999999999999999:1": "'999999999999999:1' has an index above 2147483647",
    "1 99999999999999999999:1": "'99999999999999999999:1' is no index:value",
    "1:1 2:1": "a label is missing before '1:1'",
    "x 1:1": "'x' is no finite number, and so no label",
    "nan 1:1": "'nan' is no finite number, and so no label",
    "1,2 1:1": "'1,2' is no finite number, and so no label",
    "1 qid:1 1:1": "a qid, as no other row has",
    "1 1:1\r-1 1:2": "'-1' is no index:value",
    "1 1:1 \0": "'\\x00' is no index:value",
    "1 1:\xe4\x9f\xa5": "'1:\\xe4\\x9f\\xa5' has a value that is no finite float64",
    "1 " + "x" * 99: f"'{'x' * 45}...' is no index:value",
}


@pytest.mark.parametrize("line", MALFORMED)
def test_the_first_malformed_line_is_named(path, monkeypatch, line):
    text = f"1 1:1\n# not this: x\n\n{line}\n2 3:nan\n"
    for block in (1 << 20, 5):
        monkeypatch.setattr(packed_file, "_BLOCK", block)
        path.write_bytes(text.encode("latin-1"))
        assert refusal(read, path) == f"{path}, line 4: {MALFORMED[line]}"
    assert refusal(scan, path) == f"{path}, line 4: {MALFORMED[line]}"


@pytest.mark.parametrize(
    ("text", "settings", "problem"),
    [
        ("1 1:1\n2 0:1\n", {"zero_based": False}, "line 2: '0:1' has an index below 1"),
        ("1 1:1\n2 5:1\n", {"num_features": 4}, "line 2: '5:1' has an index above 4"),
        ("1 4:1\n2 0:1\n", {"num_features": 4}, "line 1: '4:1' has an index above 3"),
        (
            "1 3:1\n2 4:1\n",
            {"num_features": 4, "zero_based": True},
            "line 2: '4:1' has an index abo",
        ),
        (
            "1 1:3e39\n",
            {"dtype": np.float32},
            "line 1: '1:3e39' has a value that is no finite float32",
        ),
        ("1 qid:1\n2 1:1\n", {}, "line 2: no qid, as other rows have"),
        ("1 qid:1\n2\n", {}, "line 2: no qid, as other rows have"),
        ("1 3 2:\n", {}, "line 1: '3' is no index:value"),
        ("1 qid:x\n", {}, "line 1: 'qid:x' is no qid, an integer of at most 15 digits"),
        ("1 qid:-1\n", {}, "line 1: 'qid:-1' is no qid, an integer of at most 15 digits"),
        ("1 qid:1 qid:2\n", {}, "line 1: 'qid:2' is no index:value"),
        ("1 1:1 qid:2\n", {}, "line 1: 'qid:2' is no index:value"),
        ("1 3qid:2\n", {}, "line 1: '3qid:2' is no index:value"),
    ],
)
def test_what_the_settings_and_other_lines_rule_out(path, monkeypatch, text, settings, problem):
    for block in (1 << 20, 3):
        monkeypatch.setattr(packed_file, "_BLOCK", block)
        path.write_text(text)
        assert refusal(read, path, **settings).startswith(f"{path}, {problem}")
        assert refusal(lambda: list(read_blocks(path, 1, **settings))).startswith(
            f"{path}, {problem}"
        )


@given(
    st.lists(st.sampled_from(["1", "-2.5", " ", "\n", ":", "#", "qid:", "3", "e", "+", "\0"])),
    st.sampled_from([None, True, False]),
)
def test_damage_is_refused_or_read_as_scikit_learn_reads_it(tmp_path_factory, pieces, zero_based):
    path = tmp_path_factory.mktemp("damage") / "file"
    path.write_text("1 2:3 5:4\n" + "".join(pieces) + "\n2 1:3\n")
    found, told = None, ""
    try:
        found = read(path, zero_based=zero_based)
    except InputError as error:
        told = str(error)
    if found:
        based = "auto" if zero_based is None else zero_based
        assert_same(found, *load_svmlight_file(str(path), zero_based=based))
    else:
        assert re.fullmatch(rf"{path}, line \d+: .+", told)


@pytest.mark.parametrize("packer", ["gzip", "bzip2", "xz"])
def test_a_packed_file_that_is_cut_short_anywhere_is_refused(path, packer):
    content = PACKERS[packer](TWO.encode())
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert refusal(read, path).startswith(f"{path}")
    path.write_bytes(content[: len(content) // 2])
    assert refusal(read, path) == f"{path}: the packed file is cut short"


@pytest.mark.parametrize("packer", ["gzip", "bzip2", "xz"])
def test_a_damaged_packed_file_is_refused(path, packer):
    content = bytearray(PACKERS[packer](TWO.encode()))
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert refusal(read, path).startswith(f"{path}")


def test_files_that_are_none_are_refused(path, monkeypatch):
    assert refusal(read, path) == f"{path}: No such file or directory"
    assert refusal(read, path.parent) == f"{path.parent}: Is a directory"
    for text in ("", "\n# only this\n"):
        path.write_text(text)
        assert refusal(read, path) == f"{path}: holds no examples"
        assert refusal(lambda: list(read_blocks(path, 1))) == f"{path}: holds no examples"
    path.write_bytes(np.random.default_rng(0).bytes(100_000))
    assert refusal(read, path).startswith(f"{path}, line 1: ")
    monkeypatch.setattr(packed_file, "LONGEST_LINE", 1 << 21)
    path.write_bytes(gzip.compress(b"1" * (1 << 23)))
    assert refusal(read, path) == f"{path}: a line of more than {1 << 21} bytes"


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    assert refusal(write, tmp_path / "no" / "file", [[1.0]], [1]) == (
        f"{tmp_path / 'no' / 'file'}: cannot be written (No such file or directory)"
    )


def test_what_was_there_before_is_left_if_a_file_cannot_be_written(path):
    path.write_text("before")
    with pytest.raises(ValueError, match="finite"):
        write(path, [[np.inf]], [1])
    assert path.read_text() == "before"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("x", "y", "settings", "error", "message"),
    [
        ([1.0], [1], {}, ValueError, "x: [n, features], not (1,)"),
        ([[1.0]], [1, 2], {}, ValueError, "y: [1] for x (1, 1), not (2,)"),
        ([[1.0]], [[1]], {}, ValueError, "y: [1] for x (1, 1), not (1, 1)"),
        ([[np.nan]], [1], {}, ValueError, "x: finite numbers only"),
        ([[1.0]], [np.inf], {}, ValueError, "y: finite numbers only"),
        ([[1j]], [1], {}, TypeError, "x: real numbers, not complex128"),
        ([[1.0]], ["a"], {}, TypeError, "y: real numbers, not <U1"),
        ([[1.0]], [1], {"query_ids": [1, 2]}, ValueError, "query_ids: [1] for x (1, 1), not (2,)"),
        ([[1.0]], [1], {"query_ids": [-1]}, ValueError, "query_ids: integers from 0 to 10^15 - 1"),
        ([[1.0]], [1], {"query_ids": [0.5]}, ValueError, "query_ids: integers from 0 to 10^15 - 1"),
    ],
)
def test_arrays_that_cannot_be_written(path, x, y, settings, error, message):
    with properties.unchecked(), pytest.raises(error, match=re.escape(message)):
        write(path, x, y, **settings)
    assert not path.exists()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: read(path, num_features=0), "num_features: at least 1, not 0"),
        (lambda path: read(path, dtype=np.float16), "dtype: float32 or float64, not "),
        (lambda path: read_blocks(path, 0), "rows: at least 1, not 0"),
    ],
)
def test_settings_out_of_bounds(path, call, message):
    path.write_text(TWO)
    with pytest.raises(ValueError, match=message):
        call(path)
