"""Names of the modules of residual networks in torchvision, timm and Keras.

    jaxml                  torchvision, timm       timm's v2                  keras.applications
    stem_conv              conv1                   stem.conv                  conv1_conv
    stem_norm              bn1                     -                          conv1_bn
    stage1/block1/conv2    layer1.0.conv2          stages.0.blocks.0.conv2    conv2_block1_2_conv
    stage1/block1/norm2    layer1.0.bn2            stages.0.blocks.0.norm2    conv2_block1_2_bn
    .../shortcut/conv      layer1.0.downsample.0   ...downsample.conv         conv2_block1_0_conv
    .../shortcut/norm      layer1.0.downsample.1   -                          conv2_block1_0_bn
    final_norm             -                       norm                       post_bn
    head                   fc                      head.fc                    predictions

In timm's D, `downsample.0` is an average pool, which shifts the other numbers. In Keras' v2, the
norms of a block are `preact_bn`, `1_bn` and `2_bn`. In the CIFAR example of Keras, all names are
generated.

`resnet50_v1` and similar networks differ from torchvision's v1.5 only in the position of the
stride. Its files would load without error but be wrong, so these networks have no naming.
"""

import re
from collections.abc import Sequence
from functools import partial

from jaxml.models._cifar_resnet import CIFAR_RESNETS
from jaxml.models._resnet import RESNETS
from jaxml.weights._convert import Naming
from jaxml.weights._keras_numbers import keras_numbered

_BLOCK = re.compile(r"stage(\d+)/block(\d+)/(.+)")


def torch_v1(paths: Sequence[str], *, average_shortcut: bool = False) -> dict[str, str]:
    """Returns the names of v1 in torchvision and timm.

    >>> torch_v1(["stem_conv", "stage1/block1/norm2"])
    {'stem_conv': 'conv1', 'stage1/block1/norm2': 'layer1.0.bn2'}
    """
    shortcut = 1 if average_shortcut else 0
    own = {
        "stem_conv": "conv1",
        "stem_norm": "bn1",
        "stem_conv1": "conv1.0",
        "stem_norm1": "conv1.1",
        "stem_conv2": "conv1.3",
        "stem_norm2": "conv1.4",
        "stem_conv3": "conv1.6",
        "stem_norm3": "bn1",
        "head": "fc",
        "shortcut/conv": f"downsample.{shortcut}",
        "shortcut/norm": f"downsample.{shortcut + 1}",
    }

    def name(path: str) -> str:
        if match := _BLOCK.fullmatch(path):
            stage, block, part = match.groups()
            part = own.get(part, part.replace("norm", "bn"))
            return f"layer{stage}.{int(block) - 1}.{part}"
        return own[path]

    return {path: name(path) for path in paths}


def torch_v2(paths: Sequence[str]) -> dict[str, str]:
    """Returns the names of v2 in timm.

    >>> torch_v2(["stage1/block1/norm2", "head"])
    {'stage1/block1/norm2': 'stages.0.blocks.0.norm2', 'head': 'head.fc'}
    """
    own = {"stem_conv": "stem.conv", "final_norm": "norm", "head": "head.fc"}

    def name(path: str) -> str:
        if match := _BLOCK.fullmatch(path):
            stage, block, part = match.groups()
            part = part.replace("shortcut/", "downsample.")
            return f"stages.{int(stage) - 1}.blocks.{int(block) - 1}.{part}"
        return own[path]

    return {path: name(path) for path in paths}


def keras(paths: Sequence[str], *, preact: bool = False) -> dict[str, str]:
    """Returns the names of `keras.applications`.

    >>> keras(["stage1/block1/shortcut/conv", "stage1/block1/norm2", "final_norm"])
    {'stage1/block1/shortcut/conv': 'conv2_block1_0_conv', \
'stage1/block1/norm2': 'conv2_block1_2_bn', 'final_norm': 'post_bn'}
    """
    own = {
        "stem_conv": "conv1_conv",
        "stem_norm": "conv1_bn",
        "shortcut/conv": "0_conv",
        "shortcut/norm": "0_bn",
        **{f"conv{number}": f"{number}_conv" for number in (1, 2, 3)},
        **{f"norm{number}": f"{number}_bn" for number in (1, 2, 3)},
        "final_norm": "post_bn",
        "head": "predictions",
    }
    if preact:
        own |= {"norm1": "preact_bn", "norm2": "1_bn", "norm3": "2_bn"}

    def name(path: str) -> str:
        if match := _BLOCK.fullmatch(path):
            stage, block, part = match.groups()
            return f"conv{int(stage) + 1}_block{block}_{own[part]}"
        return own[path]

    return {path: name(path) for path in paths}


def keras_in_order(paths: Sequence[str]) -> dict[str, str]:
    """Returns the names that Keras generates for layers in the order of their creation.

    >>> keras_in_order(["stem_conv", "stem_norm", "stage1/block1/conv1"])
    {'stem_conv': 'conv2d', 'stem_norm': 'batch_normalization', 'stage1/block1/conv1': 'conv2d_1'}
    """
    counts = {"conv2d": 0, "batch_normalization": 0, "dense": 0}
    names = {}
    for path in paths:
        last = path.rpartition("/")[2]
        kind = "conv2d" if "conv" in last else "batch_normalization" if "norm" in last else "dense"
        names[path] = keras_numbered(kind, counts[kind])
        counts[kind] += 1
    return names


def _namings() -> dict[str, tuple[str, Naming]]:
    namings: dict[str, tuple[str, Naming]] = {
        name: ("keras", keras_in_order) for name in CIFAR_RESNETS if name.endswith("_keras")
    }
    for name in RESNETS:
        if name.endswith("_v1"):
            continue
        second = name.startswith("resnetv2")
        if name.endswith("_keras"):
            namings[name] = ("keras", partial(keras, preact=second))
        elif second:
            namings[name] = ("torch_conv_head", torch_v2)
        else:
            namings[name] = ("torch", partial(torch_v1, average_shortcut=name.endswith("d")))
    return namings


RESNET_NAMINGS = _namings()
