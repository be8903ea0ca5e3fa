"""The residual networks beside those of torchvision, timm and Keras: equal logits and gradients."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from jaxml.models import MODELS
from jaxml.models.resnet import ResNet, ResNetV2
from jaxml.weights import convert
from tests.models import parity, peers

LOGITS, GRADIENTS = 1e-4, 1e-3
SIZES = (64, 75, 96)
BLOCKS = (1, 2, 1, 2)
TWO = (2, 2, 2, 2)  # fewer have not the block with the stride in Keras' v2


class Case(NamedTuple):
    """Our network and its peer, which is made for images of a size."""

    network: str
    model: Callable[..., Any]
    peer: Callable[[int], Any]
    classes: int = 10


def whole(network: str, library: str, name: str) -> Any:
    """A published network."""
    if library == "keras":
        peer = partial(peers.keras_peer, name, classes=10)
    else:
        peer = partial(peers.torch_peer, library, name, num_classes=10)
    return pytest.param(
        Case(network, MODELS[network], lambda size: peer(size=size)), id=f"{library} {name}"
    )


def short_torch(block: str, **options: Any) -> Callable[[int], Any]:
    """A network of torchvision or timm of few blocks."""

    def peer(size: int) -> Any:
        if options:
            module = peers.timm().models.resnet
        else:
            module = peers.torchvision().models.resnet
        network = module.ResNet(getattr(module, block), list(BLOCKS), num_classes=10, **options)
        return peers.randomized(network, size=size)

    return peer


def short_torch_v2(size: int) -> Any:
    """As timm's resnetv2_50 but for the number of blocks."""
    options = {"layers": list(BLOCKS), "num_classes": 10}
    return peers.torch_peer("timm", "resnetv2_50", size=size, **options)


def short_keras(version: int, blocks: tuple[int, ...]) -> Callable[[int], Any]:
    """As the networks of keras.applications but for the number of blocks."""

    def peer(size: int) -> Any:
        peers.keras()
        from keras.src.applications import resnet

        stack = getattr(resnet, f"stack_residual_blocks_v{version}")
        first, last = (1, 2) if version == 1 else (2, 1)

        def stages(x: Any) -> Any:
            x = stack(x, 64, blocks[0], stride1=first, name="conv2")
            x = stack(x, 128, blocks[1], name="conv3")
            x = stack(x, 256, blocks[2], name="conv4")
            return stack(x, 512, blocks[3], stride1=2 if first == 1 else last, name="conv5")

        options = {"classes": 10, "classifier_activation": None, "weights": None}
        network = resnet.ResNet(stages, version == 2, True, input_shape=(size, size, 3), **options)
        return peers.randomized(network, size=size)

    return peer


def case(network: str, model: Callable[..., Any], peer: Callable[[int], Any]) -> Any:
    return pytest.param(Case(network, model, peer), id=network)


SHORT = [
    case("resnet50", partial(ResNet, blocks=BLOCKS), short_torch("Bottleneck")),
    case(
        "resnet50d",
        partial(ResNet, blocks=BLOCKS, deep_stem=True, average_shortcut=True),
        short_torch("Bottleneck", stem_width=32, stem_type="deep", avg_down=True),
    ),
    case("resnetv2_50", partial(ResNetV2, blocks=BLOCKS), short_torch_v2),
    case(
        "resnet50_keras", partial(MODELS["resnet50_keras"], blocks=BLOCKS), short_keras(1, BLOCKS)
    ),
    case("resnetv2_50_keras", partial(MODELS["resnetv2_50_keras"], blocks=TWO), short_keras(2, TWO)),
]
CIFAR = [
    case("resnet20v1_keras", MODELS["resnet20v1_keras"], lambda size: peers.cifar_v1(20, size=size)),
    case("resnet20v2_keras", MODELS["resnet20v2_keras"], lambda size: peers.cifar_v2(20, size=size)),
    case("resnet29v2_keras", MODELS["resnet29v2_keras"], lambda size: peers.cifar_v2(29, size=size)),
]
WHOLE = [
    *(whole(f"resnet{n}", "torchvision", f"resnet{n}") for n in (18, 34, 50, 101, 152)),
    *(whole(f"wide_resnet{n}_2", "torchvision", f"wide_resnet{n}_2") for n in (50, 101)),
    whole("resnet200", "timm", "resnet200"),
    *(whole(f"resnet{n}d", "timm", f"resnet{n}d") for n in (18, 34, 50, 101, 152, 200)),
    *(whole(f"resnetv2_{n}", "timm", f"resnetv2_{n}") for n in (50, 101, 152)),
    *(whole(f"resnet{n}_keras", "keras", f"ResNet{n}") for n in (50, 101, 152)),
    *(whole(f"resnetv2_{n}_keras", "keras", f"ResNet{n}V2") for n in (50, 101, 152)),
]


@cache
def pair(case: Case, size: int) -> parity.Pair:
    return parity.pair(case.network, case.model(num_classes=10), case.peer(size), size=size)


def assert_equal_logits(case: Case, size: int) -> None:
    both, images = pair(case, size), parity.images_of(size)
    assert parity.evaluation_error(both, images) <= LOGITS
    assert parity.training_error(both, images) <= LOGITS
