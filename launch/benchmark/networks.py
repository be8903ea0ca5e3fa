"""Networks for the other libraries, each written once over an interface of layers.

They equal the networks of the same names in `jaxml.models`, where the ResNets for small images have
projection shortcuts and the small Inception has no auxiliary head.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from jaxml.models import InceptionSmall
from jaxml.models._inception_blocks import Unit, average_pool
from jaxml.models._resnet import BLOCKS


class Layers(Protocol):
    """The layers of a library; `x` is an array, or what represents one in the library."""

    def conv(self, x: Any, features: int, kernel_size: int = 3, strides: int = 1) -> Any:
        """Convolves without a bias; divides height and width by `strides`."""

    def norm(self, x: Any) -> Any:
        """Applies batch normalization."""

    def relu(self, x: Any) -> Any:
        """Applies a ReLU; may work in place."""

    def add(self, new: Any, x: Any) -> Any:
        """Adds two arrays; may overwrite `new`, which is not used otherwise."""

    def concatenate(self, xs: Sequence[Any]) -> Any:
        """Concatenates along the channels."""

    def average_pool(self, x: Any, window: int, strides: int) -> Any:
        """Averages each window, excluding padding; divides height and width by `strides`."""

    def max_pool(self, x: Any, window: int, strides: int) -> Any:
        """Takes the maximum of each window; divides height and width by `strides`."""


Body = Callable[[Layers, Any], Any]


class Network(NamedTuple):
    """A network without its head, a dense layer on the global average.

    Attributes:
      body: maps images in [0, 1] to the last features.
      epsilon: epsilon of batch normalization.
    """

    body: Body
    epsilon: float = 1e-5


def unit(net: Layers, x: Any, features: int, kernel_size: int = 3, strides: int = 1) -> Any:
    """Applies convolution, batch normalization and ReLU."""
    return net.relu(net.norm(net.conv(x, features, kernel_size, strides)))


def residual_v1(net: Layers, x: Any, y: Any, features: int, strides: int, *, new: bool) -> Any:
    """Computes `relu(x + y)`; projects `x` first if the shape changes."""
    if new:
        x = net.norm(net.conv(x, features, 1, strides))
    return net.relu(net.add(y, x))


def basic_block(net: Layers, x: Any, features: int, strides: int, *, new: bool) -> Any:
    """Applies a residual block of two 3x3 convolutions."""
    y = net.norm(net.conv(unit(net, x, features, 3, strides), features))
    return residual_v1(net, x, y, features, strides, new=new)


def bottleneck(net: Layers, x: Any, features: int, strides: int, *, new: bool) -> Any:
    """Applies a residual block of 1x1, strided 3x3 and 1x1 convolutions (4 x features)."""
    y = unit(net, unit(net, x, features, 1), features, 3, strides)
    y = net.norm(net.conv(y, 4 * features, 1))
    return residual_v1(net, x, y, 4 * features, strides, new=new)


def preact_bottleneck(
    net: Layers, x: Any, features: int, strides: int, *, new: bool, preact: bool
) -> Any:
    """Applies a v2 block: norm and ReLU before each of strided 1x1, 3x3 and 1x1."""
    start = net.relu(net.norm(x)) if preact else x
    y = net.conv(start, features, 1, strides)
    y = net.conv(net.relu(net.norm(y)), features)
    y = net.conv(net.relu(net.norm(y)), 4 * features, 1)
    if new:
        x = net.conv(start, 4 * features, 1, strides)
    return net.add(y, x)


def cifar_v1(net: Layers, x: Any, *, blocks: int, features: Sequence[int] = (16, 32, 64)) -> Any:
    """Applies a ResNet v1 for small images, with 6n+2 layers."""
    x = unit(net, x, features[0])
    for stage, number in itertools.product(range(len(features)), range(blocks)):
        new = stage > 0 and number == 0
        x = basic_block(net, x, features[stage], 2 if new else 1, new=new)
    return x


def cifar_v2(net: Layers, x: Any, *, blocks: int, features: Sequence[int] = (16, 32, 64)) -> Any:
    """Applies a ResNet v2 for small images, with 9n+2 layers."""
    x = unit(net, x, features[0])
    for stage, number in itertools.product(range(len(features)), range(blocks)):
        strides = 2 if stage > 0 and number == 0 else 1
        preact = stage + number > 0  # the stem already ends in norm and ReLU
        x = preact_bottleneck(net, x, features[stage], strides, new=number == 0, preact=preact)
    return net.relu(net.norm(x))


def imagenet_v1(net: Layers, x: Any, *, depth: int) -> Any:
    """Applies a ResNet for ImageNet; from 50 layers on it has bottlenecks."""
    block = bottleneck if depth >= 50 else basic_block
    x = net.max_pool(unit(net, x, 64, 7, 2), 3, 2)
    for stage, count in enumerate(BLOCKS[depth]):
        for number in range(count):
            strides = 2 if stage > 0 and number == 0 else 1
            new = number == 0 and (stage > 0 or depth >= 50)
            x = block(net, x, 64 * 2**stage, strides, new=new)
    return x


def small_inception(net: Layers, x: Any) -> Any:
    """Applies the small Inception as the tables of `jaxml.models` define it."""
    x = chain(net, InceptionSmall.stem_steps, x)
    for stage in InceptionSmall.stage_specs:
        for _, branches in stage.entry:
            x = parallel(net, branches, x)
        for _ in range(stage.repeats):
            x = parallel(net, stage.block, x)
    return x


def parallel(net: Layers, branches: Sequence[Sequence[Any]], x: Any) -> Any:
    """Concatenates the results of parallel branches along the channels."""
    return net.concatenate([chain(net, steps, x) for steps in branches])


def chain(net: Layers, steps: Sequence[Any], x: Any) -> Any:
    """Applies convolution units and pooling in sequence."""
    for step in steps:
        if isinstance(step, Unit):
            assert isinstance(step.kernel_size, int)
            x = unit(net, x, step.features, step.kernel_size, step.strides)
        elif step is average_pool:
            x = net.average_pool(x, 3, 1)
        else:
            x = net.average_pool(x, 2, 2)
    return x


def _named() -> dict[str, Network]:
    tiny = functools.partial(cifar_v1, blocks=1, features=(4, 8))
    networks = {"resnet_tiny": Network(tiny)}
    for depth in (20, 32, 44, 56, 110):
        body = functools.partial(cifar_v1, blocks=(depth - 2) // 6)
        networks[f"resnet{depth}v1"] = Network(body)
    for depth in (20, 29, 56, 110, 164):
        body = functools.partial(cifar_v2, blocks=(depth - 2) // 9)
        networks[f"resnet{depth}v2"] = Network(body)
    for depth in (18, 34, 50, 101, 152):
        networks[f"resnet{depth}"] = Network(functools.partial(imagenet_v1, depth=depth))
    networks["inception_small"] = Network(small_inception, epsilon=1e-3)
    return networks


NETWORKS = _named()
