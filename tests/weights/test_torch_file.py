"""PyTorch files: what torch writes, what it never writes, and what is written to do harm."""

import collections
import math
import pickle
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxml.errors import InputError
from jaxml.weights import _torch_file
from tests.data.sources.test_array_pickle import ATTACKS, ascii_name, old_string, text
from tests.weights import refusals
from tests.weights.torch_by_hand import (
    archive,
    integer,
    legacy,
    state_dict,
    storage,
    tensor,
    tuple_of,
)

FORMATS = [archive, legacy]
SIX = struct.pack("<6f", *range(6))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.pth"


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(params=[True, False], ids=["archive", "legacy"])
def save(request, torch, path):
    def save(content, **settings):
        settings["_use_new_zipfile_serialization"] = request.param
        torch.save(content, path, **settings)

    return save


def network(torch):
    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))


def check(path, expected, entry=""):
    """Compares what is read with tensors by name."""
    read = _torch_file.read(path, entry)
    assert list(read) == list(expected)
    for name, wanted in expected.items():
        np.testing.assert_array_equal(read[name], as_numpy(wanted), strict=True)
    return read


def as_numpy(tensor):
    """A tensor of torch as NumPy can hold it."""
    tensor = tensor.detach().resolve_conj().resolve_neg()
    name = str(tensor.dtype).removeprefix("torch.")
    if name == "bfloat16" or name.startswith("float8"):
        tensor = tensor.float()
    return tensor.numpy()


def refused(path):
    return refusals.refused(_torch_file.read, path).removeprefix("a/data.pkl: ")


def test_a_state_dict(torch, save, path):
    model = network(torch)
    model(torch.randn(4, 1, 5, 5))
    save(model.state_dict())
    read = check(path, model.state_dict())
    assert read["1.num_batches_tracked"] == 1


def test_a_dict_of_parameters(torch, save, path):
    parameters = dict(network(torch).named_parameters())
    save(parameters)
    check(path, parameters)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_other_protocols(torch, save, path, protocol):
    save(network(torch).state_dict(), pickle_protocol=protocol)
    assert len(_torch_file.read(path)) == 7


FLOATS = ["bfloat16", "float16", "float32", "float64"]


@pytest.mark.parametrize("dtype", [*FLOATS, "int64", "int32", "int16", "int8", "uint8", "bool"])
def test_every_dtype_and_layout(torch, save, path, dtype):
    base = (torch.arange(24).reshape(4, 6) * 11 % 7 - 2).to(getattr(torch, dtype))
    tensors = {
        "whole": base,
        "transposed": base.T,
        "strided": base[1:, 2::2],
        "row": base[3],
        "scalar": base[2, 3],
        "empty": base[:0],
        "own": base[1].clone(),
        "channels last": torch.stack([base, base])[None].to(memory_format=torch.channels_last),
    }
    save(tensors)
    read = check(path, tensors)
    assert np.shares_memory(read["whole"], read["row"]), "a storage that is shared is read once"
    assert not np.shares_memory(read["whole"], read["own"])


@pytest.mark.parametrize("entry", [*_torch_file.ENTRIES, "model_ema", "state_dict_ema", "net"])
def test_a_state_dict_among_other_things(torch, save, path, entry):
    state = network(torch).state_dict()
    momentum = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    rest = {"epoch": 3, "best": torch.tensor(0.5), "shape": torch.Size([2]), "optimizer": momentum}
    save({**rest, "arch": "resnet", entry: state})
    check(path, state)


def test_only_the_storages_of_the_state_dict_are_read(path):
    pickled = state_dict(
        state_dict=b"}" + text("w") + tensor() + b"s", momentum=tensor(stored=storage("absent"))
    )
    path.write_bytes(archive(pickled, {"0": SIX}))
    assert list(_torch_file.read(path)) == ["w"]


def test_the_prefix_of_parallel_and_averaged_models_is_taken_away(torch, save, path):
    model = network(torch)
    save(torch.nn.DataParallel(model).state_dict())
    check(path, model.state_dict())
    averaged = torch.optim.swa_utils.AveragedModel(model)
    assert "n_averaged" in averaged.state_dict()
    save({"model_ema": averaged.state_dict()})
    check(path, model.state_dict())


def test_a_prefix_of_some_names_is_part_of_them(torch, save, path):
    tensors = {"module.a": torch.ones(2), "module_b": torch.zeros(2)}
    save(tensors)
    check(path, tensors)


@pytest.mark.parametrize("usual", _torch_file.ENTRIES)
def test_one_of_several_state_dicts_is_chosen(torch, save, path, usual):
    states = {name: network(torch).state_dict() for name in (usual, "model_ema", "ema")}
    save({**states, "epoch": 3})
    check(path, states[usual])
    for name, state in states.items():
        check(path, state, name)


def test_the_choice_is_asked_for_where_no_name_is_the_usual_one(torch, save, path):
    state = network(torch).state_dict()
    save({"student": state, "teacher": state, "optimizer": {"lr": 0.1}})
    asked = f"must name one of the state dicts in {path}: student, teacher"
    with pytest.raises(InputError, match=f"^config.weights.entry {asked}$"):
        _torch_file.read(path)
    had = f"must be one of student, teacher in {path}, got 'techer'; did you mean 'teacher'\\?"
    with pytest.raises(InputError, match=f"^config.weights.entry {had}$"):
        _torch_file.read(path, "techer")
    check(path, state, "teacher")


def test_a_prefix_is_chosen_where_all_is_one_state_dict(torch, save, path):
    model, other = network(torch).state_dict(), network(torch).state_dict()
    lightning = {f"model.{k}": v for k, v in model.items()} | {
        f"ema.{k}": v for k, v in other.items()
    }
    save({"state_dict": lightning, "pytorch-lightning_version": "2.0"})
    check(path, model, "model")
    check(path, other, "ema")
    check(path, lightning)
    had = f"must be one of ema, model in {path}, got 'net'$"
    with pytest.raises(InputError, match=f"^config.weights.entry {had}"):
        _torch_file.read(path, "net")


def test_the_wrappers_of_a_network_are_taken_away(torch, save, path):
    wanted = network(torch).state_dict()
    for wrapper in ("_orig_mod.", "module.", "model.", "module.module.", "model._orig_mod.module."):
        save({"state_dict": {wrapper + name: value for name, value in wanted.items()}})
        check(path, wanted)
        check(path, wanted, "state_dict")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_part_that_was_compiled_goes_by_its_name(torch, save, path):
    model = network(torch)
    expected = model.state_dict()
    model[0] = torch.compile(model[0])
    assert "0._orig_mod.weight" in model.state_dict()
    save(model.state_dict())
    check(path, expected)


NONE = "has no state dict, at the top level or as state_dict, model_state_dict, model"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([], "there are no tensors"),
        ({}, "there are no tensors"),
        (3, "there are no tensors"),
        ({"epoch": 3}, "'epoch' is not a tensor"),
        ({"state_dict": {"fc.weight": None}}, "'fc.weight' is not a tensor"),
        ({"model": {"model": {}}}, "'model' is not a tensor"),
        ({1: ""}, "'1' is not a tensor"),
        ({"\x1b[2J": 1}, r"'\x1b[2J' is not a tensor"),
    ],
)
@pytest.mark.parametrize("written", FORMATS)
def test_what_holds_no_state_dict_is_told(path, written, content, told):
    path.write_bytes(written(pickle.dumps(content, 2)))
    assert refused(path) == f"{NONE}: {told}"


def test_a_whole_module_is_refused(torch, save, path):
    save(network(torch))
    assert "it names torch.nn.modules.container.Sequential, which" in refused(path)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda torch: torch.eye(2).to_sparse(), "'x' is a sparse tensor"),
        (lambda torch: torch.eye(2).to_sparse_csr(), "'x' is a sparse tensor"),
        (
            lambda torch: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
            "'x' is a quantized tensor",
        ),
        (lambda torch: torch.ones(2, device="meta"), "'x' is a tensor without values"),
        (lambda torch: torch.float32, "'x' is not a tensor"),
        (lambda torch: torch.ones(2).storage(), "'x' is not a tensor"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_no_plain_tensor_is_told(torch, save, path, make, told):
    save({"x": make(torch)})
    assert refused(path).startswith(f"{NONE}: {told}")


OTHER_DTYPES = ["complex64", "complex128", "uint16", "uint32", "uint64"]
FLOAT8 = ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"]


@pytest.mark.parametrize("dtype", [*OTHER_DTYPES, *FLOAT8])
def test_the_dtypes_of_today(torch, path, dtype):
    base = torch.arange(48, dtype=torch.uint8).reshape(4, 12)
    base = (
        base.to(getattr(torch, dtype))
        if dtype in OTHER_DTYPES
        else base.view(getattr(torch, dtype))
    )
    torch.save({"whole": base, "strided": base[1:, 2::2], "row": base[3]}, path)
    check(path, torch.load(path, weights_only=True))


def test_a_complex_tensor_of_halves(torch, path):
    halves = torch.tensor([[1.5, -2.0], [0.25, 3.0]], dtype=torch.float16)
    torch.save({"x": torch.view_as_complex(halves)}, path)
    expected = np.array([1.5 - 2j, 0.25 + 3j], np.complex64)
    np.testing.assert_array_equal(_torch_file.read(path)["x"], expected, strict=True)


def test_views_that_repeat_overlap_or_are_to_be_changed(torch, save, path):
    base = torch.arange(6.0)
    pair = torch.view_as_complex(torch.arange(8.0).reshape(4, 2))
    tensors = {
        "repeated": torch.ones(1).expand(8),
        "rows": torch.arange(2.0).expand(3, 2),
        "windows": base.unfold(0, 3, 1),
        "negated": torch._neg_view(base),
        "conjugated": pair.conj(),
        "plain": pair,
    }
    save(tensors)
    check(path, tensors)


# torch warns of its own sparse tensors, quantized ones and storages.
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_everything_that_torch_allows_may_stand_beside_the_weights(torch, save, path):
    tagged, parameter = torch.ones(2), torch.nn.Parameter(torch.arange(3.0))
    tagged.tag, parameter.tag = "a", "b"
    rest = {
        "milestones": collections.Counter([30, 60, 60]),
        "keys": {(1, (2, "a")): 1, None: 2, 1.5: 3, True: 4, b"b": 5, torch.float16: 6, 10**30: 7},
        "values": [{1, 2}, b"bytes", bytearray(b"ab"), 1j, 2**100, -(2**70), math.inf, "x" * 300],
        "torch": [torch.Size([2]), torch.device("cpu"), torch.float8_e5m2, torch.strided],
        "tensors": [
            torch.eye(2).to_sparse(),
            torch.ones(2, device="meta"),
            torch.ones(2).storage(),
        ],
        "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8),
    }
    state = {"tagged": tagged, "parameter": parameter, "buffer": torch.nn.Buffer(torch.ones(2))}
    save({"state_dict": state, **rest})
    torch.load(path, weights_only=True)
    check(path, state)


def test_an_archive_without_checksums(torch, path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(network(torch).state_dict(), path)
    finally:
        torch.serialization.set_crc32_options(True)
    check(path, torch.load(path, weights_only=True))
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        refused(path)


def test_an_archive_that_was_packed_anew(torch, path):
    torch.save(network(torch).state_dict(), path)
    expected = torch.load(path, weights_only=True)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)
    assert torch.load(path, weights_only=True).keys() == expected.keys()
    check(path, expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64", "uint16"])
def test_a_big_endian_archive(torch, path, dtype):
    value = torch.arange(6).to(getattr(torch, dtype))
    torch.save({"w": value}, path)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    size = value.itemsize // 2 if value.is_complex() else value.itemsize
    data = np.frombuffer(members["a/data/0"], f"u{size}").byteswap().tobytes()
    with zipfile.ZipFile(path, "w") as new:
        for name, content in (members | {"a/byteorder": b"big", "a/data/0": data}).items():
            new.writestr(name, content)
    # torch does not know how to swap a storage that has no dtype
    if dtype != "uint16":
        assert torch.load(path, weights_only=True)["w"].equal(value)
    check(path, {"w": value})


KEYS = pickle.dumps(["0"], 2)
KEYS_OF_PYTHON_2 = KEYS.replace(text("0"), b"U\x010")


def test_a_file_that_python_2_wrote(torch, path):
    names = (
        old_string(b"storage"),
        ascii_name("torch", "FloatStorage"),
        old_string(b"0"),
        old_string(b"cpu"),
    )
    view = tuple_of(old_string(b"1"), b"K\1", b"K\4")
    stored = tuple_of(*names, b"K\6", view) + b"Q"
    rebuilt = tensor((2, 2), (2, 1), stored=stored)
    items = old_string(b"w\xc3\xa4") + rebuilt
    pickled = b"\x80\x02" + ascii_name("collections", "OrderedDict") + b"](](" + items + b"ee\x85R."
    path.write_bytes(legacy(pickled, {"0": SIX}).replace(KEYS, KEYS_OF_PYTHON_2))
    read = _torch_file.read(path)
    np.testing.assert_array_equal(read["w\u00e4"], [[1, 2], [3, 4]])


def test_a_traced_model_is_told(torch, path):
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("a/data.pkl", b"\x80\x02" + ascii_name("__torch__", "ResNet") + b")\x81.")
        zipped.writestr("a/constants.pkl", b"\x80\x02).")
    assert "it names __torch__.ResNet, which is not part of a state dict" in refused(path)


def test_torch_reads_the_files_made_by_hand(torch, path):
    expected = torch.arange(6.0).reshape(2, 3)
    for content in (
        archive(state_dict(w=tensor()), {"0": SIX}, version="3\n"),
        legacy(state_dict(w=tensor(stored=storage("0", 6, "FloatStorage", b"N"))), {"0": SIX}),
    ):
        path.write_bytes(content)
        assert torch.load(path, weights_only=True)["w"].equal(expected)
        check(path, {"w": expected})


@pytest.mark.parametrize("written", FORMATS)
def test_an_old_rebuilt_tensor_with_names_of_python_2(path, written):
    rebuilt = (
        ascii_name("torch._utils", "_rebuild_tensor")
        + tuple_of(
            storage(),
            b"K\0",
            tuple_of(integer(3), integer(2)),
            tuple_of(integer(1), integer(3)),
        )
        + b"R"
    )
    inner = b"}" + old_string(b"w") + rebuilt + b"s"
    path.write_bytes(written(b"\x80\x02}" + old_string(b"state_dict") + inner + b"s.", {"0": SIX}))
    read = _torch_file.read(path)
    np.testing.assert_array_equal(read["w"], np.arange(6, dtype=np.float32).reshape(2, 3).T)


BEYOND = "beyond its storage of 6 values"
NUMBERS = "sizes, strides or offset outside [0, 2**48)"
REFERENCE = "a reference to something other than a storage"


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (tensor((2, 4), (3, 1)), BEYOND),
        (tensor((2, 3), (4, 1)), BEYOND),
        (tensor((2, 3), (3, 1), offset=1), BEYOND),
        (tensor((7,), (1,)), BEYOND),
        (tensor((2**27,), (0,)), BEYOND),
        (tensor((2**40,), (0,)), BEYOND),
        (tensor((2**20,) * 60, (0,) * 60), "2**48 values"),
        (tensor((0, 2**47, 2**47), (0, 1, 1)), "2**48 values"),
        (tensor((2, 3), (-3, 1), offset=3), NUMBERS),
        (tensor((-2, -3)), NUMBERS),
        (tensor((2**70,), (1,)), NUMBERS),
        (tensor((2,), (2**63,)), NUMBERS),
        (tensor((6,), (1,), offset=-1), NUMBERS),
        (tensor((6,), (1,), offset=2**1000), NUMBERS),
        (tensor((2, 3), (1,)), "or not one stride for each"),
        (tensor((1,) * 65, (1,) * 65), "more than 64 dimensions"),
        (tensor(stored=b"N"), "a tensor without storage, shape or strides"),
        (tensor(stored=tensor()), "a tensor without storage, shape or strides"),
        (tensor(stored=text("storage") + b"Q"), REFERENCE),
        (tensor(stored=b")Q"), REFERENCE),
        (tensor(stored=b"]Q"), REFERENCE),
        (tensor(stored=b")" + b"\x85" * 50_000 + b"Q"), REFERENCE),
        (tensor(stored=storage("0", -1)), "a storage of an unknown kind or size"),
        (tensor(stored=storage("0", 2**62)), "a storage of an unknown kind or size"),
        (
            tensor(stored=storage("0", 6, "FloatStorage", b"N", b"N")),
            "an invalid part of a storage",
        ),
        (
            tensor(stored=storage("0", 6, "FloatStorage", tuple_of(text("1"), b"K\3", b"K\4"))),
            "an invalid part of a storage",
        ),
        (tensor(stored=storage("0", 6, "Size")), "a storage of an unknown kind or size"),
        (tensor(stored=storage("0", 6, "OddStorage")), "it names torch.OddStorage, which"),
        (tensor() + b"0" + tensor((6,), (1,), 0, storage("0", 7)), "with two kinds or sizes"),
        (tensor() + b"]b", "a state for an object other than a dict"),
        (b"}]b", "a state for an object other than a dict"),
        (tensor() + b"]R", "a call of something that is not callable"),
        (ascii_name("torch", "FloatStorage") + b")R", "torch.FloatStorage called with unexpected"),
        (ascii_name("torch", "Size") + b"K\1\x85R", "torch.Size called with unexpected arguments"),
        (
            ascii_name("collections", "OrderedDict") + b"K\1\x85R",
            "OrderedDict called with",
        ),
        (
            ascii_name("torch._utils", "_rebuild_tensor_v2") + b")R",
            "called with unexpected",
        ),
        (
            ascii_name("torch._utils", "_rebuild_parameter") + b"NNN\x87R",
            "called with unexpected",
        ),
    ],
)
@pytest.mark.parametrize("written", FORMATS)
def test_tensors_that_are_none_are_refused(path, written, made, told):
    path.write_bytes(written(state_dict(w=made), {"0": SIX}))
    message = refused(path)
    assert message.startswith("cut short, corrupt or hostile (")
    assert told in message


@pytest.mark.parametrize("made", [tensor((1,), (2**40,)), tensor((0, 9), (9, 1), offset=99)])
@pytest.mark.parametrize("written", FORMATS)
def test_strides_that_are_never_walked_may_be_any(path, written, made):
    path.write_bytes(written(state_dict(w=made), {"0": SIX}))
    assert _torch_file.read(path)["w"].ndim in (1, 2)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("written", FORMATS)
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path, path, written, attack):
    pickled = attack(str(tmp_path / "marker"))
    path.write_bytes(written(pickled, {"0": SIX}))
    message = refused(path)
    assert "it names " in message or "the instruction " in message
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.parametrize("place", ["stored", "key", "hooks", "other entry"])
@pytest.mark.parametrize("written", FORMATS)
def test_a_call_inside_of_a_good_file_is_refused_and_not_run(tmp_path, path, written, place):
    call = ascii_name("posix", "system") + text(f"touch {tmp_path / 'marker'}") + b"\x85R"
    hooks = ascii_name("collections", "OrderedDict") + b")R"
    pickled = {
        "stored": state_dict(w=tensor(stored=call)),
        "key": state_dict(w=tensor(stored=storage().replace(text("0"), call))),
        "hooks": state_dict(w=tensor().replace(hooks, call)),
        "other entry": state_dict(state_dict=b"}", args=call),
    }[place]
    path.write_bytes(written(pickled, {"0": SIX}))
    assert "it names posix.system, which is not part of a state dict of tensors" in refused(path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "", "1", "\x1b[2J", "o" * 9999])
@pytest.mark.parametrize("written", FORMATS)
def test_a_storage_that_is_not_in_the_file_is_told(path, written, key):
    path.write_bytes(written(state_dict(w=tensor(stored=storage(key))), {"0": SIX}))
    assert refused(path).startswith("has no ")


def test_nothing_is_extracted_from_an_archive(tmp_path, path):
    content = archive(state_dict(w=tensor()), {"0": SIX, "../../../evil": b"evil"})
    path.write_bytes(content)
    assert list(_torch_file.read(path)) == ["w"]
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]


@pytest.mark.parametrize("length", [0, 20, 28])
def test_a_storage_of_another_size_is_told(path, length):
    path.write_bytes(archive(state_dict(w=tensor()), {"0": bytes(length)}))
    assert refused(path) == f"the storage '0' must have 24 bytes, got {length}"


def test_a_storage_that_is_cut_short_is_told(path):
    path.write_bytes(legacy(state_dict(w=tensor()), {"0": SIX})[:-1])
    assert refused(path) == "the storage '0' must have 24 bytes, got 23"


def test_an_archive_that_is_larger_in_memory_is_refused(path):
    pickled = state_dict(w=tensor(stored=storage("0", 250_000), shape=(250_000,), strides=(1,)))
    path.write_bytes(archive(pickled, {"0": bytes(10**6)}, zipfile.ZIP_DEFLATED))
    assert refused(path) == "its members must be at most 4 times as large as the file"


def test_other_archives_are_told(path):
    path.write_bytes(archive(state_dict(w=tensor()), {"0": SIX}, byteorder="odd"))
    assert refused(path) == "its byte order must be little or big"
    path.write_bytes(archive(state_dict(w=tensor()), {"0": SIX}, byteorder="little"))
    assert list(_torch_file.read(path)) == ["w"]
    for members in (["config.json"], ["data.pkl"], ["a/b/data.pkl"], ["a/data.pkl", "b/data.pkl"]):
        with zipfile.ZipFile(path, "w") as zipped:
            for member in members:
                zipped.writestr(member, state_dict(w=tensor()))
        assert refused(path) == "not a zip archive written by torch.save"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"version": 1000}, "must have version 1001 of torch.save"),
        ({"version": [()]}, "must have version 1001 of torch.save"),
        ({"keys": "0"}, "has no list of storages"),
        ({"keys": [0]}, "has no list of storages"),
        ({"keys": []}, "has no storage '0'"),
    ],
)
def test_other_old_files_are_told(path, settings, told):
    path.write_bytes(legacy(state_dict(w=tensor()), {"0": SIX}, **settings))
    assert refused(path) == told


@pytest.mark.parametrize("content", [b"", b"PK", b"\x89HDF\r\n\x1a\n", b"a" * 99])
def test_other_files_are_told(path, content):
    path.write_bytes(content)
    assert refused(path) == f"not a PyTorch file, it starts with {content[:4].hex()}"


@pytest.mark.parametrize("content", [1, [()], {"w": 1}])
def test_other_pickles_are_told(path, content):
    path.write_bytes(pickle.dumps(content))
    assert refused(path) == "not a pickle written by torch.save"


def test_what_cannot_be_opened_is_told(tmp_path):
    assert refused(tmp_path) == "Is a directory"
    assert refused(tmp_path / "none.pth") == "No such file or directory"


@pytest.mark.parametrize("written", FORMATS)
def test_a_truncated_file_is_told_wherever_it_ends(path, written):
    whole = written(state_dict(w=tensor()), {"0": SIX})
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        refused(path)


@pytest.mark.slow
@given(st.data())
@pytest.mark.parametrize("written", FORMATS)
def test_a_flipped_bit_is_told_or_harmless(tmp_path_factory, written, data):
    damaged = bytearray(written(state_dict(w=tensor()), {"0": SIX}))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("flip") / "a.pth"
    path.write_bytes(damaged)
    try:
        tensors = _torch_file.read(path)
    except InputError as error:
        refusals.check_message(path, error)
        return
    assert sum(array.size for array in tensors.values()) <= 6
