"""Names of the modules of Inception v4 and Inception-ResNet v2 in timm and Keras.

    jaxml                                   timm's inception_v4          timm's inception_resnet_v2
    stem/unit1/conv                         features.0.conv              conv2d_1a.conv
    mixed_5b/branch2/unit1/norm                                          mixed_5b.branch1.0.bn
    stage1/block1/branches/branch1/unit1    features.6.branch0           repeat.0.branch0
    stage2/block1/branches/branch2/unit3    features.11.branch1.2        repeat_1.0.branch1.2
    stage2/block1/expand                                                 repeat_1.0.conv2d
    stage3/block10/expand                                                block8.conv2d
    head                                    last_linear                  classif

A branch with one unit has no unit number. In the fourth branch, the pool has number 0. In Keras'
Inception-ResNet, all names are generated except those of the 1x1 convolutions before the sums and
those of the layers after the last block.
"""

import re
from collections.abc import Mapping, Sequence

from jaxml.weights._convert import Naming
from jaxml.weights._inception_names import layer_name
from jaxml.weights._resnet_names import keras_in_order

_BLOCK = re.compile(r"stage(\d+)/block(\d+)/(?:branches/)?(.+)")
_BRANCH = re.compile(r"branch(\d+)/unit(\d+)")

_STEM_OF_V4 = {f"stem/unit{number}": f"features.{number - 1}" for number in (1, 2, 3)}
_MIXED_OF_V4 = {
    "mixed_3a": "features.3",
    "mixed_4a": "features.4",
    "mixed_5a": "features.5",
    "reduction_a": "features.10",
    "reduction_b": "features.18",
}
_BEFORE_STAGE_OF_V4 = {1: 5, 2: 10, 3: 18}
_UNITS_OF_C = {
    "branch1/unit1": "branch0",
    "branch2/unit1": "branch1_0",
    "branch2/fork/branch1/unit1": "branch1_1a",
    "branch2/fork/branch2/unit1": "branch1_1b",
    "branch3/unit1": "branch2_0",
    "branch3/unit2": "branch2_1",
    "branch3/unit3": "branch2_2",
    "branch3/fork/branch1/unit1": "branch2_3a",
    "branch3/fork/branch2/unit1": "branch2_3b",
    "branch4/unit1": "branch3.1",
}
_RESNET_V2 = {
    "stem/unit1": "conv2d_1a",
    "stem/unit2": "conv2d_2a",
    "stem/unit3": "conv2d_2b",
    "stem/unit4": "conv2d_3b",
    "stem/unit5": "conv2d_4a",
    "end/unit1": "conv2d_7b",
}
_STAGES_OF_RESNET_V2 = {1: "repeat", 2: "repeat_1", 3: "repeat_2"}


def inception_v4(paths: Sequence[str]) -> dict[str, str]:
    """Returns the names of Inception v4 in timm.

    >>> inception_v4(["stem/unit1/conv", "stage3/block1/branches/branch2/fork/branch1/unit1/norm"])
    {'stem/unit1/conv': 'features.0.conv', \
'stage3/block1/branches/branch2/fork/branch1/unit1/norm': 'features.19.branch1_1a.bn'}
    """

    def name(unit: str) -> str:
        if match := _BLOCK.fullmatch(unit):
            stage, block, part = match.groups()
            place = f"features.{_BEFORE_STAGE_OF_V4[int(stage)] + int(block)}"
            named = _UNITS_OF_C[part] if stage == "3" else _in_branch(unit, part, paths)
            return f"{place}.{named}"
        if unit in _STEM_OF_V4:
            return _STEM_OF_V4[unit]
        module, _, part = unit.partition("/")
        named = "conv" if module in ("mixed_3a", "mixed_5a") else _in_branch(unit, part, paths)
        return f"{_MIXED_OF_V4[module]}.{named}"

    return {path: "last_linear" if path == "head" else layer_name(path, name) for path in paths}


def inception_resnet_v2(paths: Sequence[str]) -> dict[str, str]:
    """Returns the names of Inception-ResNet v2 in timm.

    >>> inception_resnet_v2(["stage1/block2/branches/branch1/unit1/conv", "stage3/block10/expand"])
    {'stage1/block2/branches/branch1/unit1/conv': 'repeat.1.branch0.conv', \
'stage3/block10/expand': 'block8.conv2d'}
    """

    def name(unit: str) -> str:
        if match := _BLOCK.fullmatch(unit):
            stage, block, part = match.groups()
            place = f"{_STAGES_OF_RESNET_V2[int(stage)]}.{int(block) - 1}"
            if place == "repeat_2.9":
                place = "block8"
            return f"{place}.{'conv2d' if part == 'expand' else _in_branch(unit, part, paths)}"
        if unit in _RESNET_V2:
            return _RESNET_V2[unit]
        module, _, part = unit.partition("/")
        return f"{module}.{_in_branch(unit, part, paths)}"

    return {path: "classif" if path == "head" else layer_name(path, name) for path in paths}


def inception_resnet_v2_keras(paths: Sequence[str]) -> dict[str, str]:
    """Returns the names of Inception-ResNet v2 in `keras.applications`.

    >>> inception_resnet_v2_keras(["stem/unit1/conv", "stage1/block2/expand", "end/unit1/norm"])
    {'stem/unit1/conv': 'conv2d', 'stage1/block2/expand': 'block35_2_conv', \
'end/unit1/norm': 'conv_7b_bn'}
    """
    names = keras_in_order(paths)
    own = {"end/unit1/conv": "conv_7b", "end/unit1/norm": "conv_7b_bn", "head": "predictions"}
    kinds = {"1": "block35", "2": "block17", "3": "block8"}
    for path in paths:
        match = _BLOCK.fullmatch(path)
        if match and match[3] == "expand":
            names[path] = f"{kinds[match[1]]}_{match[2]}_conv"
    return {path: own.get(path, name) for path, name in names.items()}


def _in_branch(unit: str, part: str, paths: Sequence[str]) -> str:
    """Returns the name of a unit within its module, from its path `part` in the module."""
    match = _BRANCH.fullmatch(part)
    assert match, part
    branch, number = int(match[1]) - 1, int(match[2]) - 1
    if branch == 3:
        return "branch3.1"
    alone = f"{unit.removesuffix(match[2])}2/conv" not in paths
    return f"branch{branch}" if alone and number == 0 else f"branch{branch}.{number}"


INCEPTION_RESNET_NAMINGS: Mapping[str, tuple[str, Naming]] = {
    "inception_v4": ("torch", inception_v4),
    "inception_resnet_v2": ("torch", inception_resnet_v2),
    "inception_resnet_v2_keras": ("keras", inception_resnet_v2_keras),
}
