"""Keras files: the three formats that Keras writes, older ones made by hand, damage, and harm."""

import io
import json
import os
import re
import sys
import zipfile

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxml.errors import InputError
from jaxml.weights import _keras_file
from tests.weights import refusals

# Keras hands its variables on torch to NumPy in the manner of NumPy 1.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ENDINGS = ["h5", "weights.h5", "keras"]


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras")


def branching(keras, dtype=None):
    """Layers that are made in another order than by depth, some with names of their own."""
    layers = keras.layers
    inputs = keras.Input((4, 4, 3))
    x = layers.SeparableConv2D(4, 1, name="first", dtype=dtype)(inputs)
    x = layers.BatchNormalization(scale=False)(x)
    branches = []
    for depth in (4, 1, 3, 2, 1):
        y = x
        for _ in range(depth):
            y = layers.Conv2D(4, 1, use_bias=depth > 1)(y)
        branches.append(layers.BatchNormalization(name=f"block{depth * 5}_{len(branches)}_bn")(y))
    x = layers.Add()(branches)
    x = layers.Dropout(0.5)(layers.DepthwiseConv2D(1)(x))
    x = layers.BatchNormalization(scale=False, center=False)(x)
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)), name="base")


def nested(keras):
    """A network as one layer of another, which has an optimiser's state."""
    model = keras.Sequential([keras.Input((4, 4, 3)), branching(keras), keras.layers.Dense(3)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def save(model, path):
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    (model.save_weights if path.name.endswith(".weights.h5") else model.save)(path)


def layers_of(model):
    for layer in model.layers:
        yield from layers_of(layer) if hasattr(layer, "layers") else [layer]


def expected(model):
    """The weights by the names that their layers and they have in Keras."""
    return {
        f"{layer.name}/{variable.name}": np.asarray(variable.value.detach().float())
        for layer in layers_of(model)
        for variable in layer.weights
    }


def check(path, wanted):
    read = _keras_file.read(path)
    assert read.keys() == wanted.keys()
    for name, array in read.items():
        np.testing.assert_array_equal(array, wanted[name], strict=True)
    return list(read)


def refused(path):
    return refusals.refused(_keras_file.read, path)


@pytest.mark.slow
@pytest.mark.parametrize(("build", "started"), [(branching, 0), (nested, 94)])
def test_the_three_formats_are_read_as_one(keras, tmp_path, build, started):
    keras.backend.clear_session()
    for _ in range(started):
        keras.layers.Conv2D(1, 1)
    model = build(keras)
    by_depth = [layer.name for layer in layers_of(model) if layer.name.startswith("conv2d")]
    made = [f"conv2d_{n}" if n else "conv2d" for n in range(started, started + 11)]
    assert sorted(by_depth) == sorted(made)
    assert by_depth != made, "the order of creation is not that of the model"
    assert len(expected(model)) == len(model.weights)
    for ending in ENDINGS:
        path = tmp_path / f"a.{ending}"
        save(model, path)
        names = check(path, expected(model))
        kernels = [name for name in names if name.startswith("conv2d") and name.endswith("/kernel")]
        assert kernels == [f"{name}/kernel" for name in made]
        blocks = [name.split("/")[0] for name in names if name.endswith("_bn/gamma")]
        assert blocks == [
            "block5_1_bn",
            "block5_4_bn",
            "block10_3_bn",
            "block15_2_bn",
            "block20_0_bn",
        ]


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_bfloat16_becomes_float32(keras, tmp_path, ending):
    model = branching(keras, dtype="bfloat16")
    path = tmp_path / f"a.{ending}"
    save(model, path)
    check(path, expected(model))


def test_a_scale_without_a_shift_is_told_apart_by_its_settings(keras, tmp_path):
    inputs = keras.Input((2,))
    norm = keras.layers.BatchNormalization(center=False, name="norm")
    model = keras.Model(inputs, norm(inputs))
    for ending, name in (("h5", "gamma"), ("keras", "gamma"), ("weights.h5", "beta")):
        save(model, tmp_path / f"a.{ending}")
        names = [f"norm/{name}", "norm/moving_mean", "norm/moving_variance"]
        assert list(_keras_file.read(tmp_path / f"a.{ending}")) == names


def without_names(content):
    """A file of Keras 3 as its early versions wrote it."""
    file = io.BytesIO(content)
    with h5py.File(file, "r+") as h5:
        h5.visititems(lambda _, item: item.attrs.pop("name", None))
    return file.getvalue()


def test_an_early_file_of_keras_3_needs_its_settings_for_names(keras, tmp_path):
    model = nested(keras)
    path = tmp_path / "a.keras"
    save(model, path)
    with zipfile.ZipFile(path) as archive:
        config, content = archive.read("config.json"), archive.read("model.weights.h5")
    path.write_bytes(keras_archive(config, without_names(content)))
    check(path, expected(model))
    path = tmp_path / "a.weights.h5"
    path.write_bytes(without_names(content))
    assert "does not name the layer 'layers/" in refused(path)
    assert refused(path).endswith("; save the model as .keras or .h5")


def test_a_file_of_weights_of_old_keras(keras, tmp_path):
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    model = branching(keras)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)
    check(path, expected(model))
    with h5py.File(path, "r+") as file:  # more names than fit into one attribute
        names = file.attrs.pop("layer_names")
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:9], names[9:]
    check(path, expected(model))


def as_keras_2(content, version, windows):
    """Weights that Keras 3 wrote, in the layout of saving_lib of Keras 2, without names."""
    file = io.BytesIO()
    with h5py.File(io.BytesIO(content)) as new, h5py.File(file, "w") as old:
        found = {}
        new.visititems(lambda place, item: found.update({place: item}))
        for place, item in found.items():
            if isinstance(item, h5py.Dataset):
                old[old_place(place, version, windows)] = item[()]
    return file.getvalue()


def old_place(place, version, windows):
    *layer, variables, number = place.split("/")
    for depth in range(1, len(layer)):
        if version < 15 and layer[depth - 1] == "layers":
            layer[depth - 1] = "_layer_checkpoint_dependencies"
            # Each layer with weights is in a list twice, which 2.13 counts.
            if version == 13 and re.search(r"_\d+$", layer[depth]):
                kind, _, count = layer[depth].rpartition("_")
                layer[depth] = f"{kind}_{2 * int(count)}"
    return "/".join([("\\" if windows else "/").join(layer), variables, number])


@pytest.mark.slow
@pytest.mark.parametrize("windows", [False, True], ids=["posix", "windows"])
@pytest.mark.parametrize("version", [13, 14, 15])
@pytest.mark.parametrize("build", [branching, nested])
def test_files_of_keras_2(keras, tmp_path, build, version, windows):
    model = build(keras)
    path = tmp_path / "a.keras"
    save(model, path)
    with zipfile.ZipFile(path) as archive:
        config, content = archive.read("config.json"), archive.read("model.weights.h5")
    old = as_keras_2(content, version, windows)
    path.write_bytes(keras_archive(config, old))
    check(path, expected(model))
    path = tmp_path / "a.weights.h5"
    path.write_bytes(old)
    assert refused(path).endswith("; save the model as .keras or .h5")


def test_weights_in_another_format_are_told(tmp_path):
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", '{"config": {"layers": []}}')
        archive.writestr("model.weights.npz", b"")
    assert refused(path) == "its weights must not be in model.weights.npz; save the model as .h5"


def keras_archive(config, content, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", content)
    return file.getvalue()


def hdf5(path, datasets, **attributes):
    with h5py.File(path, "w") as file:
        for name, value in datasets.items():
            file[name] = value
        for name, value in attributes.items():
            file.attrs[name] = value
    return path


OLD = {"layer_names": [b"conv2d_1"]}


def test_names_of_tensorflow(tmp_path):
    kernel = np.ones((1, 1, 3, 4), np.float32)
    datasets = {
        "conv2d_10/conv2d_10/kernel:0": kernel,
        "conv2d_9/conv2d_9_1/kernel:0": kernel,  # made twice in one graph
        "conv2d_9/conv2d_9_1/bias:0": kernel[0, 0, 0],
        "depthwise/depthwise/depthwise_kernel:0": kernel,
        "separable/separable/depthwise_kernel:0": kernel,
        "separable/separable/pointwise_kernel:0": kernel,
        "model_1/bn/gamma:0": kernel[0, 0, 0],
        "model_1/dense/kernel:0": kernel[0, 0],
        "model_2/only/kernel:0": kernel,
    }
    assert list(_keras_file.read(hdf5(tmp_path / "a.h5", datasets, **OLD))) == [
        *("bn/gamma", "conv2d_9/kernel", "conv2d_9/bias", "conv2d_10/kernel", "dense/kernel"),
        *("depthwise/kernel", "only/kernel"),
        *("separable/depthwise_kernel", "separable/pointwise_kernel"),
    ]


def test_the_weights_of_a_layer_come_in_one_order(tmp_path):
    datasets = {f"a/a/{name}": [1.0] for name in [*_keras_file.WEIGHTS, "alpha", "zeta"][::-1]}
    names = list(_keras_file.read(hdf5(tmp_path / "a.h5", datasets, **OLD)))
    assert names == [
        *("a/kernel", "a/depthwise_kernel", "a/pointwise_kernel", "a/bias"),
        *("a/gamma", "a/beta", "a/moving_mean", "a/moving_variance", "a/alpha", "a/zeta"),
    ]


def test_numbers_of_any_order_of_bytes(tmp_path):
    path = hdf5(tmp_path / "a.h5", {"a/a/kernel": np.arange(3, dtype=">f4")}, **OLD)
    read = _keras_file.read(path)["a/kernel"]
    np.testing.assert_array_equal(read, np.arange(3, dtype=np.float32), strict=True)


def test_two_weights_of_one_name_are_told(tmp_path):
    datasets = {"a/conv/kernel": [1.0], "a/bn/beta": [1.0], "b/conv/kernel": [1.0], "b/x/y": [1.0]}
    path = hdf5(tmp_path / "a.h5", datasets, **OLD)
    assert refused(path) == "two weights have the name 'conv/kernel'"


@pytest.mark.parametrize(
    ("datasets", "told"),
    [
        ({}, "has no weights of a Sequential or functional model"),
        ({"optimizer/vars/0": 1.0}, "has no weights of a Sequential or functional model"),
        ({"images": [1.0]}, "'images' is not a weight of a Sequential or functional model"),
        ({"conv1/vars/0": [1.0]}, "'conv1/vars/0' is not a weight of a Sequential or"),
        ({"layers/a/b/vars/0": [1.0]}, "'layers/a/b/vars/0' is not a weight of a Sequential or"),
        ({"layers/dense/vars/x": [1.0]}, "'layers/dense/vars/x' is not a weight"),
        ({"layers/odd/vars/0": [1.0]}, "does not name the 1 weights of 'layers/odd'; save"),
        (
            {f"layers/dense/vars/{i}": [1.0] for i in range(3)},
            "not name the 3 weights of",
        ),
        ({"layers/dense/vars/1": [1.0]}, "does not name the 1 weights of 'layers/dense'"),
        (
            {"layers/batch_normalization/vars/0": [1.0]},
            "not name the 1 weights of",
        ),
    ],
)
def test_what_is_no_model_of_keras_3_is_told(tmp_path, datasets, told):
    path = hdf5(tmp_path / "a.weights.h5", datasets)
    with h5py.File(path, "r+") as file:
        for name in datasets:
            file[name].parent.attrs["name"] = "layer"
    assert told in refused(path)


@pytest.mark.parametrize(
    "config",
    ["", "{", "[]", "3", '{"config": 3}', '{"config": {"layers": 3}}', "[" * 100_000]
    + [json.dumps({"config": {"layers": [layer]}}) for layer in (3, {}, {"class_name": 3})],
)
def test_settings_that_are_no_models_are_told(tmp_path, config):
    path = tmp_path / "a.keras"
    path.write_bytes(keras_archive(config, b""))
    assert refused(path) == "its config.json must describe a Sequential or functional model"


def test_other_archives_are_told(tmp_path):
    path = tmp_path / "a.keras"
    path.write_bytes(keras_archive('{"config": {"layers": []}}', b"PK"))
    assert refused(path).startswith("truncated or corrupt HDF5 (")
    path.write_bytes(keras_archive("{}" + " " * 10**6, b"", zipfile.ZIP_DEFLATED))
    assert refused(path) == "its members must be at most 4 times as large as the file"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"")
    assert refused(path) == "has no member 'config.json'"


def test_h5py_is_asked_for(tmp_path, monkeypatch):
    path = hdf5(tmp_path / "a.h5", {})
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert refused(path) == "h5py must be installed to read it: pip install h5py"


@pytest.mark.parametrize("content", [b"", b"\x80\x02}.", b"a" * 99])
def test_other_files_are_told(tmp_path, content):
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    assert refused(path) == f"not a Keras file, it starts with {content[:4].hex()}"


def test_what_cannot_be_opened_is_told(tmp_path):
    assert refused(tmp_path) == "Is a directory"
    assert refused(tmp_path / "none.h5") == "No such file or directory"


def soft_link(file):
    file["a/b"] = h5py.SoftLink("/a/a/kernel")


def external_link(file):
    file["a/b"] = h5py.ExternalLink("/etc/passwd", "/")


def circle(file):
    file["a/b"] = file["/"]


def second_place(file):
    file["b"] = file["a"]


def external_data(file):
    file.create_dataset("a/a/bias", (3,), "f4", external=[("/etc/passwd", 0, 12)])


def virtual_data(file):
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "a", (3,))
    file.create_virtual_dataset("a/a/bias", layout)


def compressed(file):
    file.create_dataset("a/a/bias", data=np.zeros(10**6, np.float32), compression="gzip")


def immense(file):
    file.create_dataset("a/a/bias", (2**50,), "f4", chunks=(2**10,))


def text(file):
    file["a/a/bias"] = ["rm", "-r"]


def compound(file):
    file["a/a/bias"] = np.zeros(3, "f4,f4")


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (soft_link, "'a/b' is a link, which Keras never writes"),
        (external_link, "'a/b' is a link, which Keras never writes"),
        (circle, "'a/b' has two paths"),
        (second_place, "'b' has two paths"),
        (external_data, "'/a/a/bias' refers to another file"),
        (virtual_data, "'/a/a/bias' refers to another file"),
        (compressed, "its weights must not be larger than the file"),
        (immense, "its weights must not be larger than the file"),
        (text, "'/a/a/bias' must be numeric, got dtype object"),
        (compound, "'/a/a/bias' must be numeric, got dtype [('f0', '<f4'), ('f1', '<f4')]"),
    ],
)
def test_what_keras_never_writes_is_refused(tmp_path, harm, told):
    path = hdf5(tmp_path / "a.h5", {"a/a/kernel": np.ones(3)}, **OLD)
    with h5py.File(path, "r+") as file:
        harm(file)
    assert refused(path) == told


def test_a_weight_that_was_never_written_is_refused(tmp_path):
    path = hdf5(tmp_path / "a.h5", {"a/a/kernel": np.ones(3)}, **OLD)
    with h5py.File(path, "r+") as file:
        file.create_dataset("a/a/bias", (3,), "f4")
    assert refused(path) == "'/a/a/bias' is compressed or was never written"


def old_file(path):
    return hdf5(path, {"a/a/kernel": np.ones(3)}, **OLD)


def new_file(path):
    hdf5(path, {"layers/dense/vars/0": np.ones((3, 2))})
    with h5py.File(path, "r+") as file:
        file["layers/dense/vars"].attrs["name"] = "dense"
    return path


def archive_file(path):
    content = new_file(path).read_bytes()
    layer = {"class_name": "Dense", "config": {"name": "dense"}}
    path.write_bytes(keras_archive(json.dumps({"config": {"layers": [layer]}}), content))
    return path


@pytest.mark.parametrize("make", [old_file, new_file, archive_file])
def test_a_truncated_file_is_told_wherever_it_ends(tmp_path, make):
    path = make(tmp_path / "a")
    assert len(_keras_file.read(path)) == 1
    whole = path.read_bytes()
    for length in {*range(0, len(whole), 97), *(len(whole) * q // 4 for q in (1, 2, 3))}:
        path.write_bytes(whole[:length])
        refused(path)


@given(st.integers(0, 95), st.integers(0, 7))
@pytest.mark.parametrize("make", [old_file, new_file, archive_file])
def test_a_flipped_bit_of_the_header_is_told_or_harmless(tmp_path_factory, make, position, bit):
    path = make(tmp_path_factory.mktemp("flip") / "a")
    damaged = bytearray(path.read_bytes())
    damaged[position] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        weights = _keras_file.read(path)
    except InputError as error:
        refusals.check_message(path, error)
        return
    assert len(weights) == 1
