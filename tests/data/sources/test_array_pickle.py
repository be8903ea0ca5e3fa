"""Pickles of arrays, in the form of Python 2 and of today, damaged, and written to do harm."""

import copyreg
import importlib.util
import pickle
import pickletools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxml.data.sources import _array_pickle as array_pickle
from jaxml.errors import InputError

FILE = "data_batch_1"


def ascii_name(module: str, name: str) -> bytes:
    """The opcode GLOBAL."""
    return f"c{module}\n{name}\n".encode()


def stack_name(module: str, name: str) -> bytes:
    """The opcode STACK_GLOBAL, which takes dotted names and any character."""
    return text(module) + text(name) + b"\x93"


def text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return b"X" + len(encoded).to_bytes(4, "little") + encoded


def old_string(value: bytes) -> bytes:
    """A `str` of Python 2."""
    return b"T" + len(value).to_bytes(4, "little") + value


def integer(value: int) -> bytes:
    return b"J" + value.to_bytes(4, "little", signed=True)


OLD_DTYPE = (
    ascii_name("numpy", "dtype")
    + b"U\x02u1K\0K\x01\x87R(K\x03U\x01|NNN"
    + (integer(-1) + integer(-1) + b"K\0tb")
)


def old_array(content: bytes, shape: tuple[int, ...], order: str = "C") -> bytes:
    """An array as NumPy 1 pickles it under Python 2, opcode by opcode as in a batch of CIFAR-10."""
    return (
        ascii_name("numpy.core.multiarray", "_reconstruct")
        + (ascii_name("numpy", "ndarray") + b"K\0\x85U\x01b\x87R")
        + (b"(K\x01(" + b"".join(map(integer, shape)) + b"t")
        + OLD_DTYPE
        + ({"C": b"\x89", "F": b"\x88"}[order] + old_string(content) + b"tb")
    )


def old_dict(items: dict[bytes, bytes]) -> bytes:
    """A pickle of protocol 2 of a dict from names to what is already pickled."""
    return (
        b"\x80\x02}q\x01("
        + b"".join(old_string(key) + b"q\x02" + value for key, value in items.items())
        + b"u."
    )


BATCH = old_dict({b"labels": b"](K\x03K\x09e", b"data": old_array(b"abcdef", (2, 3))})


def check_batch(batch: Any) -> None:
    """Compares what is read with `BATCH`."""
    assert batch.keys() == {b"labels", b"data"}
    assert batch[b"labels"] == [3, 9]
    expected = np.asarray([[97, 98, 99], [100, 101, 102]], np.uint8)
    np.testing.assert_array_equal(batch[b"data"], expected, strict=True)


def refused(content: bytes, loads: Callable[[bytes, str], Any] = array_pickle.loads) -> str:
    """The message with which a pickle is refused."""
    with pytest.raises(InputError) as error:
        loads(content, FILE)
    check_message(error.value)
    return str(error.value)


def check_message(error: InputError) -> None:
    assert str(error).startswith(f"{FILE}: ")
    assert str(error).isprintable(), "the message is one line, with nothing that acts on a terminal"
    assert len(str(error)) < 1000


@pytest.fixture
def fresh_loads() -> Callable[[bytes, str], Any]:
    """The reader of a copy of the module, so that what a pickle does to it ends with the test."""
    spec = importlib.util.find_spec("jaxml.data.sources._array_pickle")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.loads


def test_reads_a_batch_that_python_2_pickled():
    check_batch(array_pickle.loads(BATCH, FILE))


def test_reads_columns_first_where_the_array_was_stored_so():
    content = old_dict({b"data": old_array(b"abcdef", (2, 3), order="F")})
    expected = np.asarray([[97, 99, 101], [98, 100, 102]], np.uint8)
    np.testing.assert_array_equal(array_pickle.loads(content, FILE)[b"data"], expected)


@pytest.mark.parametrize("numpy", [1, 2])
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_reads_what_numpy_pickles_today(protocol, numpy):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    value = {
        b"data": array,
        "columns": np.asfortranarray(array),
        "strided": array[:, ::-1, ::2],
        b"labels": [1, np.int64(-2), np.uint8(255)],
    }
    content = pickle.dumps(value, protocol)
    if numpy == 1 and protocol < 4:  # whose names have no length before them
        content = content.replace(b"numpy._core", b"numpy.core")
    loaded = array_pickle.loads(content, FILE)
    assert loaded.keys() == value.keys()
    assert loaded[b"labels"] == [1, -2, 255]
    assert all(type(label) is int for label in loaded[b"labels"])
    for key in (b"data", "columns", "strided"):
        np.testing.assert_array_equal(loaded[key], value[key], strict=True)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("dtype", [f"{o}{k}{s}" for o in "<>" for k in "iu" for s in (1, 2, 4, 8)])
def test_reads_integers_of_any_order_of_bytes(dtype, protocol):
    info = np.iinfo(dtype)
    array = np.array([[info.min, 1, 2], [3, 4, info.max]], dtype)
    loaded = array_pickle.loads(pickle.dumps({"x": array, "y": array.T}, protocol), FILE)
    native = array.astype(array.dtype.newbyteorder("="))
    np.testing.assert_array_equal(loaded["x"], native, strict=True)
    np.testing.assert_array_equal(loaded["y"], native.T, strict=True)


def test_reads_a_string_of_python_2_in_protocol_0():
    # as Python 2.7 writes pickle.dumps({'a\n\'"\\\xff': 'b'}, 0)
    content = b"(dp0\nS'a\\n\\'\"\\\\\\xff'\np1\nS'b'\np2\ns."
    assert array_pickle.loads(content, FILE) == {b"a\n'\"\\\xff": b"b"}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (1,), ()])
def test_reads_arrays_of_any_size(shape, protocol):
    array = np.full(shape, 7, np.uint8)
    loaded = array_pickle.loads(pickle.dumps({b"data": array}, protocol), FILE)
    np.testing.assert_array_equal(loaded[b"data"], array, strict=True)


def test_reads_plain_containers_as_they_are():
    value = {
        b"names": [b"a", b"", "ä"],
        b"counts": (0, -1, 2**40, 2**100),
        b"rest": {"nested": [None, True, False, 1.5]},
    }
    assert array_pickle.loads(pickle.dumps(value, protocol=4), FILE) == value


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "S1", "U1", "O", "V3", "?", "u1,f4"])
def test_arrays_of_anything_but_integers_are_refused(dtype):
    array = np.zeros(3, dtype)
    assert "must be an integer type" in refused(pickle.dumps({b"data": array}, protocol=2))


@pytest.mark.parametrize(
    "shape",
    [
        (2, 2),
        (7,),
        (-1,),
        (-1, 3),
        (-1, 4),
        (-1, -1),
        (2**31 - 1,),
        (2**31 - 1,) * 3,
        (1,) * 64,
        (1,) * 65,
    ],
)
def test_shapes_that_do_not_fit_the_bytes_are_refused(shape):
    refused(old_dict({b"data": old_array(b"abcdef", shape)}))


NO_SHAPES = {
    "none": b"N\x85",
    "integer": b"K\x06",
    "list": b"](K\x02K\x03e",
    "float": b"G?\xf0\0\0\0\0\0\0",
    "dict": b"}",
    "text": b"U\x01a",
    "nested": b")\x85",
    "huge": b"\x8a\x09" + b"\xff" * 8 + b"\0",
}


@pytest.mark.parametrize("shape", NO_SHAPES.values(), ids=NO_SHAPES)
def test_shapes_that_are_no_tuples_of_integers_are_refused(shape):
    good = b"(" + integer(2) + integer(3) + b"t"
    assert good in BATCH
    refused(BATCH.replace(good, shape))


@pytest.mark.parametrize("content", [b"N", b"K\x06", text("abcdef"), b"]", b"("])
def test_an_array_without_bytes_is_refused(content):
    good = old_string(b"abcdef")
    assert good in BATCH
    refused(BATCH.replace(good, content))


@pytest.mark.parametrize("dtype", [b"N", text("u1"), ascii_name("numpy", "dtype")])
def test_an_array_without_a_dtype_is_refused(dtype):
    assert OLD_DTYPE in BATCH
    refused(BATCH.replace(OLD_DTYPE, dtype))


def test_a_pickle_that_is_cut_short_anywhere_is_refused():
    today = pickle.dumps({b"data": np.arange(6, dtype=np.uint8), b"labels": [1]}, protocol=4)
    for content in (BATCH, today):
        for length in range(len(content)):
            refused(content[:length])


OTHER_BYTES = sorted({*(ord(opcode.code) for opcode in pickletools.opcodes), *b"\0\1\x7f\xff"})


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["python 2", 4, 5])
def test_any_opcode_anywhere_is_read_or_refused(protocol):
    array = np.arange(6, dtype=np.uint8)
    content = BATCH if protocol == "python 2" else pickle.dumps({b"data": array}, protocol)
    for position in range(len(content)):
        for other in OTHER_BYTES:
            damaged = content[:position] + bytes([other]) + content[position + 1 :]
            try:
                array_pickle.loads(damaged, FILE)
            except InputError as error:
                check_message(error)


# What each of these makes is a file; all of them work in an unpickler that is not on its guard.
def calls_system(path: str) -> bytes:
    return b"\x80\x02" + ascii_name("os", "system") + text(f"touch {path}") + b"\x85R."


def calls_posix_system(path: str) -> bytes:
    return b"\x80\x02" + ascii_name("posix", "system") + text(f"touch {path}") + b"\x85R."


def calls_system_by_protocol_0(path: str) -> bytes:
    return f"cos\nsystem\n(S'touch {path}'\ntR.".encode()


def calls_system_by_inst(path: str) -> bytes:
    return f"(S'touch {path}'\nios\nsystem\n.".encode()


def calls_system_by_obj(path: str) -> bytes:
    return f"(cos\nsystem\nS'touch {path}'\no.".encode()


def calls_system_by_a_dotted_name(path: str) -> bytes:
    return b"\x80\x04" + stack_name("os", "path.os.system") + text(f"touch {path}") + b"\x85R."


def calls_system_for_a_subtype(path: str) -> bytes:
    call = ascii_name("os", "system") + text(f"touch {path}") + b"\x85R0"
    return old_dict({b"data": call + old_array(b"abcdef", (2, 3))})


def calls_system_in_a_list(path: str) -> bytes:
    call = ascii_name("os", "system") + text(f"touch {path}") + b"\x85R"
    return old_dict({b"labels": b"](" + call + b"e", b"data": old_array(b"abcdef", (2, 3))})


def calls_system_from_the_memo(path: str) -> bytes:
    return (
        b"\x80\x02" + ascii_name("os", "system") + b"q\0" + old_array(b"abcdef", (6,)) + b"0"
        b"h\0" + text(f"touch {path}") + b"\x85R."
    )


def calls_subprocess(path: str) -> bytes:
    arguments = b"(" + text("touch") + text(path) + b"l"
    return b"\x80\x02" + ascii_name("subprocess", "check_call") + arguments + b"\x85R."


def calls_eval(path: str) -> bytes:
    code = text(f"__import__('pathlib').Path({path!r}).touch()")
    return b"\x80\x02" + ascii_name("builtins", "eval") + code + b"\x85R."


def calls_eval_of_python_2(path: str) -> bytes:
    code = text(f"__import__('pathlib').Path({path!r}).touch()")
    return b"\x80\x02" + ascii_name("__builtin__", "eval") + code + b"\x85R."


def calls_exec(path: str) -> bytes:
    code = text(f"import pathlib\npathlib.Path({path!r}).touch()")
    return b"\x80\x02" + ascii_name("builtins", "exec") + code + b"\x85R."


def calls_getattr(path: str) -> bytes:
    made = ascii_name("pathlib", "Path") + text(path) + b"\x85R"
    method = ascii_name("builtins", "getattr") + made + text("touch") + b"\x86R"
    return b"\x80\x02" + method + b")R."


def calls_numpy_save(path: str) -> bytes:
    return b"\x80\x02" + ascii_name("numpy", "save") + text(f"{path}.npy") + b"K\0\x86R."


def calls_a_method_of_an_array(path: str) -> bytes:
    array = ascii_name("numpy", "zeros") + b"K\x01\x85R"
    return b"\x80\x04" + stack_name("numpy", "ndarray.tofile") + array + text(path) + b"\x86R."


def makes_a_memmap(path: str) -> bytes:
    arguments = b"(" + text(path) + text("u1") + text("w+") + b"K\0K\x01t"
    return b"\x80\x02" + ascii_name("numpy", "memmap") + arguments + b"\x81."


def makes_a_memmap_with_keywords(path: str) -> bytes:
    keywords = b"}(" + text("mode") + text("w+") + text("shape") + b"K\x01u"
    arguments = text(path) + b"\x85"
    return b"\x80\x04" + ascii_name("numpy", "memmap") + arguments + keywords + b"\x92."


ATTACKS = [
    calls_system,
    calls_posix_system,
    calls_system_by_protocol_0,
    calls_system_by_inst,
    calls_system_by_obj,
    calls_system_by_a_dotted_name,
    calls_system_for_a_subtype,
    calls_system_in_a_list,
    calls_system_from_the_memo,
    calls_subprocess,
    calls_eval,
    calls_eval_of_python_2,
    calls_exec,
    calls_getattr,
    calls_numpy_save,
    calls_a_method_of_an_array,
    makes_a_memmap,
    makes_a_memmap_with_keywords,
]


@pytest.mark.skipif(sys.platform == "win32", reason="the attacks are written for POSIX")
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, attack):
    content = attack(str(tmp_path / "marker"))
    refused(content)
    assert not list(tmp_path.iterdir())
    with_numpy_2 = content.replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
    pickle.loads(with_numpy_2, encoding="bytes")
    assert list(tmp_path.iterdir()), "this attack would do no harm to anyone"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy", "load"),
        ("numpy", "fromfile"),
        ("numpy", "f2py.os.system"),
        ("numpy", "dtype.__class__"),
        ("numpy", "ndarray.__reduce__"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy.core.multiarray", "_reconstruct.__class__"),
        ("numpy._core.multiarray", "scalar.__class__"),
        ("numpy.core", "multiarray._reconstruct"),
        ("_codecs", "decode"),
        ("_codecs", "encode.__globals__"),
        ("builtins", "getattr"),
        ("builtins", "object"),
        ("builtins", "type"),
        ("copyreg", "_reconstructor"),
        ("sys", "modules"),
        ("jaxml.data.sources._array_pickle", "pickle.loads"),
    ],
)
@pytest.mark.parametrize("form", ["GLOBAL", "STACK_GLOBAL", "INST"])
def test_no_other_name_can_be_used(module, name, form):
    told = refused(
        {
            "GLOBAL": b"\x80\x02" + ascii_name(module, name) + b".",
            "STACK_GLOBAL": b"\x80\x04" + stack_name(module, name) + b".",
            "INST": f"(i{module}\n{name}\n.".encode(),
        }[form]
    )
    if form == "GLOBAL":
        assert f"{module}.{name}" in told


@pytest.mark.parametrize("encoding", ["rot13", "zlib", "idna", "unicode_escape", "utf-8"])
def test_text_is_encoded_as_latin1_only(encoding):
    call = ascii_name("_codecs", "encode") + text("abc") + text(encoding) + b"\x86R"
    refused(old_dict({b"data": call}))


@pytest.mark.parametrize(
    "subtype", [ascii_name("numpy", "memmap"), ascii_name("numpy", "matrix"), b"(ios\nsystem\n"]
)
def test_an_array_of_a_hostile_subtype_is_refused(subtype):
    good = ascii_name("numpy", "ndarray")
    assert good in BATCH
    refused(BATCH.replace(good, subtype))


@pytest.mark.parametrize("name", ["os\nsystem", "\x1b[2Jos", "os\udc80", "o" * 100_000, "\u202eso"])
@pytest.mark.parametrize("place", ["module", "name", "dtype"])
def test_a_name_cannot_write_on_the_terminal(name, place):
    refused(
        {
            "module": b"\x80\x04" + stack_name(name, "system") + b".",
            "name": b"\x80\x04" + stack_name("os", name) + b".",
            "dtype": b"\x80\x02" + ascii_name("numpy", "dtype") + text(name) + b"\x85R.",
        }[place]
    )


@pytest.mark.parametrize("content", [b"P1\n.", b"\x80\x02K\x01Q.", b"\x80\x02U\x02idQ."])
def test_persistent_ids_are_refused(content):
    refused(content)


@pytest.mark.parametrize(
    "content",
    [b"F1\n2\n.", b"Fa\n.", b"F" + b"a" * 5000 + b"\n.", b"Ix\n.", b"Lx\n.", b"S'\n.", b"\xff"],
)
def test_numbers_and_strings_that_are_none_are_refused(content):
    refused(content)


@pytest.mark.parametrize("opcode", [b"\x82\x70", b"\x83\x70\0", b"\x84\x70\0\0\0"])
def test_extension_codes_are_refused(opcode):
    refused(b"\x80\x02" + opcode + b".")


@pytest.mark.skipif(sys.platform == "win32", reason="the attack is written for POSIX")
def test_extension_codes_that_this_process_knows_and_has_used_are_refused(tmp_path):
    copyreg.add_extension("os", "system", 0x70)
    try:
        pickle.loads(b"\x80\x02\x82\x70.")
        refused(b"\x80\x02\x82\x70" + text(f"touch {tmp_path / 'marker'}") + b"\x85R.")
    finally:
        copyreg.remove_extension("os", "system", 0x70)
    assert not list(tmp_path.iterdir())


REACHABLE = {
    "old _reconstruct": ascii_name("numpy.core.multiarray", "_reconstruct"),
    "_reconstruct": ascii_name("numpy._core.multiarray", "_reconstruct"),
    "ndarray": ascii_name("numpy", "ndarray"),
    "dtype": ascii_name("numpy", "dtype"),
    "encode": ascii_name("_codecs", "encode"),
    "_frombuffer": ascii_name("numpy._core.numeric", "_frombuffer"),
    "scalar": ascii_name("numpy._core.multiarray", "scalar"),
}
ATTRIBUTES = [
    "__new__",
    "__init__",
    "__call__",
    "__setstate__",
    "__reduce__",
    "__class__",
    "__dict__",
    "__bases__",
    "__code__",
    "__defaults__",
    "__kwdefaults__",
    "array",
    "append",
    "extend",
    "find_class",
]


def state(attribute: str, value: bytes, form: str) -> bytes:
    """A state for BUILD that sets an attribute."""
    attributes = b"}" + text(attribute) + value + b"s"
    return {
        "dict": attributes,
        "slots": b"N" + attributes + b"\x86",
        "both": attributes + attributes + b"\x86",
    }[form]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["dict", "slots", "both"])
@pytest.mark.parametrize("target", REACHABLE)
def test_no_state_that_is_built_changes_the_reader(fresh_loads, target, form):
    today = pickle.dumps({b"data": np.arange(3, dtype=np.uint8)}, protocol=2)
    check_batch(fresh_loads(BATCH, FILE))
    for attribute in ATTRIBUTES:
        for value in (*REACHABLE.values(), b"N"):
            for made in (b"", b")R", b")\x81"):
                built = REACHABLE[target] + made + state(attribute, value, form) + b"b"
                try:
                    fresh_loads(b"\x80\x04" + built + b".", FILE)
                except InputError as error:
                    check_message(error)
                check_batch(fresh_loads(BATCH, FILE))
                assert fresh_loads(today, FILE)[b"data"].tolist() == [0, 1, 2]


WORDS = {
    "name": [*REACHABLE.values()],
    "state": [
        *(state(name, value, "slots") for name in ATTRIBUTES[:4] for value in REACHABLE.values()),
        *(state(name, b"N", "dict") for name in ATTRIBUTES[:4]),
    ],
    "arguments": [b")", b"U\x01b\x85", b"U\x02u1\x85", text("latin1") + b"2\x86"],
    "value": [
        *(text("latin1"), b"U\x02u1", b"U\x03abc", b"K\0", b"K\x01", b"K\x03\x85", b"N", b"\x89"),
        *(b"]", b"}", b"\x8f", b"h\0"),
    ],
    "call": [b"R", b"\x81", b"}\x92", b"o"],
    "build": [b"b"],
    "operation": [
        *(b"a", b"s", b"l", b"t", b"d", b"\x85", b"\x86", b"\x87", b"2", b"0", b"(", b"e", b"u"),
        *(b"1", b"q\0", b"\x90", b"\x91", b"\x97", b"\x98", b"\x94"),
    ],
}


@pytest.mark.slow
def test_no_random_program_gets_beyond_the_reader(fresh_loads):
    rng = np.random.default_rng(0)
    kinds = list(WORDS.values())
    for length in rng.integers(3, 12, size=5_000):
        program = [kinds[kind] for kind in rng.integers(len(kinds), size=length)]
        words = [words[rng.integers(len(words))] for words in program]
        try:
            fresh_loads(b"\x80\x04" + b"".join(words) + b".", FILE)
        except InputError as error:
            check_message(error)
        try:
            check_batch(fresh_loads(BATCH, FILE))
        except Exception as error:
            raise AssertionError(f"the reader is changed by {words}") from error


@pytest.mark.parametrize("index", [b"r\xff\xff\xff\x00", b"p16777215\n"], ids=["binary", "text"])
def test_a_memo_entry_far_beyond_the_size_of_the_file_is_refused(index):
    refused(b"\x80\x02N" + index + b".")


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02r\xff\xff\xff\xff.",
        b"Np99999999999999999999\n.",
        b"Np-1\n.",
        b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.",
        b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f.",
        b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f.",
        b"\x80\x04\x95" + b"\xff" * 8 + b".",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"\x80\x02\x8b\xff\xff\xff\xff.",
        b"\x80\x02T\xff\xff\xff\x7f.",
        b"\x80\x02T\xff\xff\xff\xff.",
        b"I" + b"9" * 10_000 + b"\n.",
        b"\x80\xff.",
        b".",
        b"",
    ],
)
def test_sizes_beyond_the_file_are_refused(content):
    refused(content)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["dtype", "name", "encoding", "arguments"])
def test_a_deeply_nested_tuple_in_the_place_of_text_is_refused(place):
    nested = b")" + b"\x85" * 50_000
    refused(
        {
            "dtype": b"\x80\x02" + ascii_name("numpy", "dtype") + nested + b"\x85R.",
            "name": b"\x80\x04" + nested + nested + b"\x93.",
            "encoding": b"\x80\x02"
            + ascii_name("_codecs", "encode")
            + text("a")
            + nested
            + b"\x86R.",
            "arguments": b"\x80\x02" + ascii_name("numpy", "dtype") + nested + b"R.",
        }[place]
    )


@pytest.mark.parametrize("arguments", [b"N", b"]", b"U\x02u1", b"](U\x02u1e"])
def test_arguments_that_are_no_tuple_are_refused(arguments):
    refused(b"\x80\x02" + ascii_name("numpy", "dtype") + arguments + b"R.")


def test_a_dtype_that_is_long_to_write_out_is_refused_in_few_words():
    doubled = b")" + b"2\x86" * 16
    refused(b"\x80\x02" + ascii_name("numpy", "dtype") + doubled + b"\x85R.")


@pytest.mark.slow
@pytest.mark.parametrize(
    "key", [b")" + b"\x85" * 500_000, b")" + b"2\x86" * 64], ids=["deep", "doubled"]
)
def test_a_key_that_is_long_to_hash_is_refused(key):
    script = (
        "import sys\n"
        "from jaxml.data.sources._array_pickle import loads\n"
        "from jaxml.errors import InputError\n"
        "try:\n"
        f"    loads(sys.stdin.buffer.read(), {FILE!r})\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    content = b"\x80\x02}" + key + b"Ns."
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=content,
        capture_output=True,
        timeout=20,
        check=False,
        cwd=Path(array_pickle.__file__).parents[3],
    )
    assert (done.returncode, done.stdout.startswith(FILE.encode())) == (0, True), done.stderr


def test_a_pickle_of_no_dict_is_no_error():
    assert array_pickle.loads(pickle.dumps([1, b"a"], protocol=2), FILE) == [1, b"a"]
