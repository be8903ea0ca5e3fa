"""Names of the modules of Inception v1 and v3 in torchvision, timm and Keras.

    jaxml                            googlenet                 inception_v3
    stem/unit2/conv                  conv2.conv                Conv2d_2a_3x3.conv
    stem/unit2/norm                  conv2.bn                  Conv2d_2a_3x3.bn
    inception_3a/branch2/unit1/conv  inception3a.branch2.0.conv
    mixed_5b/branch2/unit1/conv                                Mixed_5b.branch5x5_1.conv
    auxiliary2/unit/conv             aux2.conv.conv
    auxiliary/unit1/conv                                       AuxLogits.conv0.conv
    head                             fc                        fc

In Keras' v3, all names but that of the head are generated.
"""

from collections.abc import Callable, Mapping, Sequence

from jaxml.weights._convert import Naming
from jaxml.weights._resnet_names import keras_in_order

_LAYERS = {"conv": "conv", "norm": "bn"}

_GOOGLENET = {
    **{f"stem/unit{number}": f"conv{number}" for number in (1, 2, 3)},
    **{f"auxiliary{number}/unit": f"aux{number}.conv" for number in (1, 2)},
    **{f"auxiliary{number}/dense": f"aux{number}.fc1" for number in (1, 2)},
    **{f"auxiliary{number}/head": f"aux{number}.fc2" for number in (1, 2)},
    "head": "fc",
}
_GOOGLENET_BRANCHES = {
    "branch1/unit1": "branch1",
    "branch2/unit1": "branch2.0",
    "branch2/unit2": "branch2.1",
    "branch3/unit1": "branch3.0",
    "branch3/unit2": "branch3.1",
    "branch4/unit1": "branch4.1",  # 0 is the pool
}

_V3 = {
    "stem/unit1": "Conv2d_1a_3x3",
    "stem/unit2": "Conv2d_2a_3x3",
    "stem/unit3": "Conv2d_2b_3x3",
    "stem/unit4": "Conv2d_3b_1x1",
    "stem/unit5": "Conv2d_4a_3x3",
    "auxiliary/unit1": "AuxLogits.conv0",
    "auxiliary/unit2": "AuxLogits.conv1",
    "auxiliary/head": "AuxLogits.fc",
    "head": "fc",
}


def _branch(number: int, name: str, units: int) -> dict[str, str]:
    return {f"branch{number}/unit{unit}": f"{name}_{unit}" for unit in range(1, units + 1)}


_ONE_AND_POOL = {"branch1/unit1": "branch1x1", "branch4/unit1": "branch_pool"}
_A = _ONE_AND_POOL | _branch(2, "branch5x5", 2) | _branch(3, "branch3x3dbl", 3)
_B = {"branch1/unit1": "branch3x3"} | _branch(2, "branch3x3dbl", 3)
_C = _ONE_AND_POOL | _branch(2, "branch7x7", 3) | _branch(3, "branch7x7dbl", 5)
_D = _branch(1, "branch3x3", 2) | _branch(2, "branch7x7x3", 4)
_E = {
    **_ONE_AND_POOL,
    **_branch(2, "branch3x3", 1),
    "branch2/fork/branch1/unit1": "branch3x3_2a",
    "branch2/fork/branch2/unit1": "branch3x3_2b",
    **_branch(3, "branch3x3dbl", 2),
    "branch3/fork/branch1/unit1": "branch3x3dbl_3a",
    "branch3/fork/branch2/unit1": "branch3x3dbl_3b",
}
_V3_BRANCHES = {
    **{f"mixed_5{letter}": _A for letter in "bcd"},
    "mixed_6a": _B,
    **{f"mixed_6{letter}": _C for letter in "bcde"},
    "mixed_7a": _D,
    **{f"mixed_7{letter}": _E for letter in "bc"},
}


def googlenet(paths: Sequence[str]) -> dict[str, str]:
    """Returns the names of Inception v1 in torchvision.

    >>> googlenet(["stem/unit1/conv", "inception_3a/branch4/unit1/norm"])
    {'stem/unit1/conv': 'conv1.conv', \
'inception_3a/branch4/unit1/norm': 'inception3a.branch4.1.bn'}
    """
    return _named(
        paths,
        _GOOGLENET,
        lambda module, unit: f"{module.replace('_', '')}.{_GOOGLENET_BRANCHES[unit]}",
    )


def inception_v3(paths: Sequence[str]) -> dict[str, str]:
    """Returns the names of Inception v3 in torchvision and timm.

    >>> inception_v3(["stem/unit1/conv", "mixed_6a/branch2/unit1/norm", "auxiliary/head"])
    {'stem/unit1/conv': 'Conv2d_1a_3x3.conv', \
'mixed_6a/branch2/unit1/norm': 'Mixed_6a.branch3x3dbl_1.bn', 'auxiliary/head': 'AuxLogits.fc'}
    """
    return _named(
        paths,
        _V3,
        lambda module, unit: f"{module.capitalize()}.{_V3_BRANCHES[module][unit]}",
    )


def _named(
    paths: Sequence[str], fixed: Mapping[str, str], in_module: Callable[[str, str], str]
) -> dict[str, str]:
    """Names the layers: units with a fixed name, and others by their module and path in it."""

    def name(place: str) -> str:
        module, _, unit = place.partition("/")
        return fixed[place] if place in fixed else in_module(module, unit)

    return {path: layer_name(path, name) for path in paths}


def inception_v3_keras(paths: Sequence[str]) -> dict[str, str]:
    """Returns the names of Inception v3 in `keras.applications`.

    >>> inception_v3_keras(["stem/unit1/conv", "stem/unit1/norm", "stem/unit2/conv", "head"])
    {'stem/unit1/conv': 'conv2d', 'stem/unit1/norm': 'batch_normalization', \
'stem/unit2/conv': 'conv2d_1', 'head': 'predictions'}
    """
    return {**keras_in_order(paths), "head": "predictions"}


def layer_name(path: str, name: Callable[[str], str]) -> str:
    """Returns the name of a layer from the name of the unit that contains it.

    >>> layer_name("stem/unit1/norm", {"stem/unit1": "conv1"}.__getitem__)
    'conv1.bn'
    """
    place, _, layer = path.rpartition("/")
    return f"{name(place)}.{_LAYERS[layer]}" if layer in _LAYERS else name(path)


INCEPTION_NAMINGS: Mapping[str, tuple[str, Naming]] = {
    "googlenet": ("torch", googlenet),
    "inception_v3": ("torch", inception_v3),
    "inception_v3_keras": ("keras", inception_v3_keras),
}
