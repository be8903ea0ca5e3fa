"""Random files of torch, whole and damaged: the right tensors, or an error of one line."""

import io
import pickletools
import random
import struct
import time
import zipfile

import numpy as np
import pytest

from jaxml.errors import InputError
from jaxml.weights import _torch_file
from tests.data.sources.test_array_pickle import ascii_name, text
from tests.weights.refusals import check_message
from tests.weights.test_torch_file import as_numpy

torch = pytest.importorskip("torch")

ZIPPED_ONLY = ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2"]
DTYPES = [
    *("float64", "float32", "float16", "bfloat16", "complex64", "complex128", "bool"),
    *("int64", "int32", "int16", "int8", "uint8"),
]
FUNCTIONS = ["os system", "posix system", "builtins eval", "subprocess Popen", "torch load"]


def random_tensor(rng, dtypes):
    """A view of random bytes."""
    dtype = getattr(torch, rng.choice(dtypes))
    content = torch.tensor(bytearray(rng.randbytes(24 * dtype.itemsize)), dtype=torch.uint8)
    whole = content % 2 == 1 if dtype is torch.bool else content.view(dtype)
    return rng.choice(
        [
            lambda: whole,
            lambda: whole[rng.randrange(24) :: 3],
            lambda: whole.view(4, 6).t(),
            lambda: whole[5],
            lambda: whole[:0],
            lambda: whole.expand(3, 24),
            lambda: whole.unfold(0, 3, 1),
            lambda: whole.conj(),
        ]
    )()


def random_value(rng, depth=0):
    """What may stand beside weights."""
    if depth < 3 and rng.random() < 0.5:
        items = [random_value(rng, depth + 1) for _ in range(rng.randrange(4))]
        keys = [(1, "a"), 1.5, None, 2**70][: len(items)]
        return rng.choice([items, tuple(items), dict(zip(keys, items, strict=True))])
    values = [None, 2**80, b"\xff", bytearray(b"a"), 1j, {1, 2}, torch.Size([1]), torch.bfloat16]
    return rng.choice([*values, torch.device("cpu"), torch.eye(2).to_sparse(), torch.strided])


def random_file(rng, zipped):
    dtypes = [*DTYPES, *ZIPPED_ONLY] if zipped else DTYPES
    state = {f"layer{i}.weight": random_tensor(rng, dtypes) for i in range(rng.randint(1, 5))}
    content = {"model": state, "rest": [random_value(rng) for _ in range(4)]}
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("seed", range(40))
def test_what_torch_loads_is_read(tmp_path, seed):
    content = random_file(random.Random(seed), zipped=seed % 2 == 0)  # noqa: S311
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    wanted = torch.load(io.BytesIO(content), weights_only=True)["model"]
    read = _torch_file.read(path)
    assert list(read) == list(wanted)
    for name, tensor in wanted.items():
        np.testing.assert_array_equal(read[name], as_numpy(tensor), strict=True)


def edit_pickle(content, edit):
    """A file with another pickle in it."""
    if not content.startswith(b"PK"):
        return edit(content)
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            member = old.read(name)
            new.writestr(name, edit(member) if name.endswith("data.pkl") else member)
    return file.getvalue()


def damage(rng, content, marker):
    """A file with one kind of damage or harm."""

    def insert(pickled, harm):
        places = [place for _, _, place in pickletools.genops(pickled)]
        place = rng.choice(places[1:] or [len(pickled) - 1])
        return pickled[:place] + harm + pickled[place:]

    def flip(pickled):
        changed = bytearray(pickled)
        changed[rng.randrange(len(changed))] = ord(rng.choice(pickletools.opcodes).code)
        return bytes(changed)

    module, function = rng.choice(FUNCTIONS).split()
    argument = text(f"touch {marker}")
    name = ascii_name(module, function)
    calls = [
        name + argument + b"\x85R",
        name + argument + b"\x85\x81",
        b"(" + name + argument + b"o",
        b"(" + argument + b"i" + name[1:],
        ascii_name("collections", "OrderedDict") + b")R}" + argument + name + b"sb",
    ]
    sizes = [b"\x8a\x08" + b"\xff" * 8, b"X\xff\xff\xff\x7f", b"r\xff\xff\xff\xff", b")" * 5000]
    edits = [
        lambda: edit_pickle(content, flip),
        lambda: edit_pickle(content, lambda pickled: insert(pickled, rng.choice(calls))),
        lambda: edit_pickle(content, lambda pickled: insert(pickled, rng.choice(sizes))),
        lambda: content[: rng.randrange(len(content))],
        lambda: content.replace(struct.pack("<I", 24), struct.pack("<I", 2**31 - 1)),
    ]
    return rng.choice(edits)()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("seed", range(20))
def test_damage_is_told_at_once_and_runs_nothing(tmp_path, seed):
    rng = random.Random(seed)  # noqa: S311
    content = random_file(rng, zipped=seed % 2 == 0)
    path, marker = tmp_path / "a.pth", tmp_path / "marker"
    for _ in range(15):
        path.write_bytes(damage(rng, content, marker))
        start = time.process_time()
        try:
            read = _torch_file.read(path)
        except InputError as error:
            check_message(path, error)
        else:
            assert sum(array.size for array in read.values()) < 10**4
        assert time.process_time() - start < 2
        assert not marker.exists()
