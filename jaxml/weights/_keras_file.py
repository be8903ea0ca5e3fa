"""Keras files: `.h5`, `.weights.h5` and `.keras`, read without Keras.

The formats store the weights of a model in different ways:

- `.h5`, of old Keras and `keras.applications`: `[model_weights/]LAYER/.../LAYER/WEIGHT`. A nested
  model is one layer, which contains the names of its own layers.
- `.weights.h5`, of Keras 3: `layers/CLASS_n/vars/i` for the n-th layer of a class in the order of
  `model.layers`, which is by depth, not by creation. The name of the layer is an attribute of
  `vars`, which early versions did not write. Weights have no names.
- `.keras`: a zip archive of a `.weights.h5` file and `config.json`, which has all names.

Keras 2.13 to 2.15 write the latter two as well. 2.13 and 2.14 write
`_layer_checkpoint_dependencies` instead of `layers`, 2.13 counts each layer twice, and on Windows
names are separated by backslashes. No version before 3 writes names of layers into `.weights.h5`.
"""

import io
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxml.errors import InputError
from jaxml.weights import _hdf5
from jaxml.weights._archive import opened
from jaxml.weights._first_bytes import HDF5, ZIP, first_bytes
from jaxml.weights._keras_layers import layers_of, weights_of

if TYPE_CHECKING:
    import h5py

WEIGHTS = (
    *("kernel", "depthwise_kernel", "pointwise_kernel", "bias"),
    *("gamma", "beta", "moving_mean", "moving_variance"),
)

_OLD_LAYERS = "_layer_checkpoint_dependencies"
# Other contents of Keras 3 files: states of the optimizer, metrics and random generators.
_OTHERS = re.compile(r"optimizer/.*|(compile_)?metrics/.*|.*/seed_generator/.*")


def read(path: Path) -> dict[str, np.ndarray]:
    """Reads the weights of a Sequential or functional model of Keras.

    Args:
      path: a `.h5`, `.weights.h5` or `.keras` file; the content decides the format.

    Returns:
      The weights by `LAYER/WEIGHT`, the same for all formats, where WEIGHT is usually one of
      `WEIGHTS`. They are sorted by layer, with numbers in names by value, so that layers with
      generated names (`conv2d`, `conv2d_1`, ...) are in the order of creation. Nested models are
      flattened. The dtypes are those of the file except that bfloat16 becomes float32.

    Raises:
      InputError: the file cannot be read, is truncated or corrupt, or has another format; h5py is
        not installed; the names of a layer or its weights are unknown.

    References:
      `saving_lib` and `legacy_h5_format` of Keras 3.15 and 2.13 to 2.15.
    """
    start = first_bytes(path)
    if start.startswith(HDF5):
        with _hdf5.opened(path, path) as file:
            weights = _weights(file, {}, path)
    elif start.startswith(ZIP):
        with opened(path) as archive:
            layers = layers_of(archive.read("config.json"), path)
            if "model.weights.npz" in archive.names:
                raise InputError(
                    f"{path}: its weights must not be in model.weights.npz; save the model as .h5"
                )
            content = archive.read("model.weights.h5")
        with _hdf5.opened(io.BytesIO(content), path) as file:
            weights = _weights(file, layers, path)
    else:
        raise InputError(f"{path}: not a Keras file, it starts with {start[:4].hex()}")
    return {name: weights[name] for name in sorted(weights, key=_order)}


def _weights(
    file: "h5py.File", layers: dict[str, dict[str, Any]], path: Path
) -> dict[str, np.ndarray]:
    datasets = _hdf5.datasets(file, path)
    if "model_weights" in file:
        root = "model_weights/"
        datasets = {k.removeprefix(root): v for k, v in datasets.items() if k.startswith(root)}
        named = _legacy_names(datasets)
    elif {"layer_names", "layer_names0"} & set(file.attrs):
        named = _legacy_names(datasets)
    else:
        named = _names(file, datasets, layers, path)
    if sum(datasets[place].nbytes for place in named) > file.id.get_filesize():
        raise InputError(f"{path}: its weights must not be larger than the file")
    weights: dict[str, np.ndarray] = {}
    for place, name in named.items():
        if name in weights:
            raise InputError(f"{path}: two weights have the name {name[:100]!r}")
        weights[name] = _hdf5.array(datasets[place], path)
    if not weights:
        raise InputError(f"{path}: has no weights of a Sequential or functional model")
    return weights


def _legacy_names(places: Collection[str]) -> dict[str, str]:
    """Returns `LAYER/WEIGHT` by the path of each weight in a file of old Keras."""
    scopes: dict[str, set[str]] = defaultdict(set)  # groups of weights by layer
    for place in places:
        scopes[place.split("/")[0]].add(_scope(place))
    names = {}
    for place in places:
        layer = place.split("/")[0]
        # TensorFlow numbers the scope of a layer that is created twice; it is not a nested model.
        single = len(scopes[layer]) == 1 and re.fullmatch(
            rf"{re.escape(layer)}(_\d+)?", _scope(place)
        )
        weight = re.sub(r":\d+$", "", place.split("/")[-1])
        if weight == "depthwise_kernel" and place.replace("depthwise", "pointwise") not in places:
            weight = "kernel"  # Keras 3's name for a DepthwiseConv2D
        names[place] = f"{layer if single else _scope(place)}/{weight}"
    return names


def _scope(place: str) -> str:
    return "/".join(place.split("/")[:-1]).split("/")[-1]


def _names(
    file: "h5py.File", places: Collection[str], layers: dict[str, dict[str, Any]], path: Path
) -> dict[str, str]:
    """Returns `LAYER/WEIGHT` by the path of each weight in a file of Keras 3."""
    variables: dict[str, dict[int, str]] = defaultdict(dict)
    for place, current in _current_paths(file, places).items():
        match = re.fullmatch(r"(layers/(?:[^/]+/layers/)*[^/]+)/vars/(\d{1,3})", current)
        if match:
            variables[match[1]][int(match[2])] = place
        elif not _OTHERS.fullmatch(current):
            raise InputError(
                f"{path}: {place[:100]!r} is not a weight of a Sequential or functional model"
            )
    names = {}
    for layer, numbered in variables.items():
        config = layers.get(layer, {})
        name = config.get("name") or file[min(numbered.values())].parent.attrs.get("name")
        if type(name) is not str:
            raise InputError(
                f"{path}: does not name the layer {layer[:100]!r}; save the model as .keras or .h5"
            )
        kind = re.sub(r"_\d+$", "", layer.split("/")[-1])
        weights = weights_of(kind, len(numbered), config)
        if weights is None or set(numbered) != set(range(len(weights))):
            raise InputError(
                f"{path}: does not name the {len(numbered)} weights of {layer[:100]!r}; "
                "save the model as .h5"
            )
        names |= {place: f"{name}/{weights[number]}" for number, place in numbered.items()}
    return names


def _current_paths(file: "h5py.File", places: Collection[str]) -> dict[str, str]:
    """Returns each path in the form of Keras 3.

    Every layer has a group, even without weights; the n-th layer of a class in a model has the n-th
    smallest number.
    """
    paths: list[str] = []
    file.visit(paths.append)
    numbers: dict[tuple[str, str], set[int]] = defaultdict(set)
    for path in paths:
        for model, kind, number in _old_layers(path):
            numbers[model, kind].add(number)
    ranks = {key: {n: i for i, n in enumerate(sorted(found))} for key, found in numbers.items()}
    renamed = {}
    for place in places:
        parts = place.replace("\\", "/").split("/")
        for model, kind, number in _old_layers(place):
            depth = model.count("/") + 1
            rank = ranks[model, kind][number]
            parts[depth - 1 : depth + 1] = ["layers", f"{kind}_{rank}" if rank else kind]
        renamed[place] = "/".join(parts)
    return renamed


def _old_layers(path: str) -> Iterator[tuple[str, str, int]]:
    """Yields the model's path, the class and the number of each layer in a path of Keras 2.13."""
    parts = path.replace("\\", "/").split("/")
    for depth in range(1, len(parts)):
        if parts[depth - 1] == _OLD_LAYERS:
            kind, _, number = parts[depth].rpartition("_")
            if not (kind and re.fullmatch(r"\d{1,6}", number)):
                kind, number = parts[depth], "0"
            yield "/".join(parts[:depth]), kind, int(number)


def _order(name: str) -> tuple[list[str | int], int, str]:
    """Returns the sort key of a weight, with numbers in the layer's name by value."""
    layer, _, weight = name.rpartition("/")
    parts = re.split(r"([0-9]{1,9})", layer)  # alternating text and numbers
    key = [int(part) if i % 2 else part for i, part in enumerate(parts)]
    return key, WEIGHTS.index(weight) if weight in WEIGHTS else len(WEIGHTS), weight
