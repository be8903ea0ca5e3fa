"""Which format a file is in: by its first bytes, else by its ending."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.numpy

import jaxml
from jaxml.errors import InputError
from jaxml.weights import read
from tests.weights.torch_by_hand import archive, legacy, state_dict, tensor

NUMBERS = np.arange(6, dtype=np.float32)


def torch_file(path):
    path.write_bytes(archive(state_dict(w=tensor()), {"0": NUMBERS.tobytes()}))


def old_torch_file(path):
    path.write_bytes(legacy(state_dict(w=tensor()), {"0": NUMBERS.tobytes()}))


def safetensors_file(path):
    safetensors.numpy.save_file({"w": NUMBERS.reshape(2, 3)}, path)


def keras_file(path):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"w"]
        file["w/w/kernel"] = NUMBERS.reshape(2, 3)


@pytest.mark.parametrize("ending", [".pth", ".pt", ".safetensors", ".h5", ".weights.h5", ".bin"])
@pytest.mark.parametrize("make", [torch_file, old_torch_file, safetensors_file, keras_file])
def test_the_content_decides(tmp_path, make, ending):
    path = tmp_path / f"a{ending}"
    make(path)
    weights = read(path)
    name, naming = ("w/kernel", "keras") if make is keras_file else ("w", "torch")
    assert weights.naming == naming
    np.testing.assert_array_equal(weights.tensors[name], NUMBERS.reshape(2, 3), strict=True)


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (".pth", "not a PyTorch file, it starts with 61616161"),
        (".PT", "not a PyTorch file, it starts with 61616161"),
        (".h5", "not a Keras file, it starts with 61616161"),
        (".weights.h5", "not a Keras file, it starts with 61616161"),
        (".keras", "not a Keras file, it starts with 61616161"),
        (
            ".safetensors",
            "truncated or corrupt safetensors file (Error while deserializing header",
        ),
        (
            ".bin",
            "must be a safetensors, PyTorch (.pth, .pt) or Keras (.h5, .weights.h5, .keras) file, "
            "but starts with 6161616161616161",
        ),
    ],
)
def test_a_content_of_no_format_is_told_by_the_ending(tmp_path, ending, told):
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"a" * 99)
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: {told}")


def test_an_archive_is_of_keras_by_its_ending(tmp_path):
    path = tmp_path / "a.keras"
    torch_file(path)
    with pytest.raises(InputError, match=r"a\.keras: has no member 'config\.json'"):
        read(path)


def test_what_cannot_be_opened_is_told(tmp_path):
    with pytest.raises(InputError, match=r"a\.pth: No such file or directory"):
        read(tmp_path / "a.pth")
    with pytest.raises(InputError, match="Is a directory"):
        read(tmp_path)


def test_a_name_that_acts_on_a_terminal_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file({"\x1b[2J": NUMBERS}, path)
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value) == rf"{path}: the tensor name '\x1b[2J' is not printable"


@pytest.mark.slow
def test_nothing_heavy_is_imported():
    """Weights can be looked at without jax, torch and Keras, and h5py is asked for when needed."""
    code = "import sys, jaxml.weights; sys.exit(str({'torch', 'keras', 'h5py'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=False,
        cwd=Path(jaxml.__file__).parents[1],
    )
    assert done.stderr == b"set()\n"
