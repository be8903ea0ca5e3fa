"""The residual networks beside those of torchvision, timm and Keras: equal logits and gradients."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models import MODELS
from jaxml.weights._keras_numbers import renumbered
from tests import properties
from tests.models import parity, peers

pytestmark = pytest.mark.slow

LOGITS, GRADIENTS = 1e-4, 1e-6  # float32, and float64 but for logits of float32
SIZES = (64, 75, 96)
BLOCKS = (1, 2, 1, 1)
TWO = (2, 2, 2, 2)  # fewer have not the block with the stride in Keras' v2


class Case(NamedTuple):
    """Our network and its peer, which is made for images of a size.

    Attributes:
      network: whose names our modules have.
      model: takes `num_classes`.
      peer: from a size.
      gradients: whether they are compared, too.
    """

    network: str
    model: Callable[..., Any]
    peer: Callable[[int], Any]
    gradients: bool = False


def case(network: str, peer: Callable[[int], Any], **options: Any) -> Any:
    """A network, with options that make it like the peer."""
    model = partial(MODELS[network], **options)
    return pytest.param(Case(network, model, peer), id=network)


def whole(network: str, library: str, name: str = "") -> Any:
    """A published network."""

    def peer(size: int) -> Any:
        if library == "keras":
            return peers.keras_peer(name, size=size, classes=10)
        return peers.torch_peer(library, name or network, size=size, num_classes=10)

    gradients = network in ("resnet18", "resnet50", "resnetv2_50")
    return pytest.param(Case(network, MODELS[network], peer, gradients), id=network)


def short_torch(library: str, **options: Any) -> Callable[[int], Any]:
    """A bottleneck network of torchvision or timm, of few blocks."""

    def peer(size: int) -> Any:
        module = getattr(peers, library)().models.resnet
        network = module.ResNet(module.Bottleneck, list(BLOCKS), num_classes=10, **options)
        return peers.randomized(network, size=size)

    return peer


def short_torch_v2(size: int) -> Any:
    """As timm's resnetv2_50 but for the number of blocks."""
    options = {"layers": list(BLOCKS), "num_classes": 10}
    return peers.torch_peer("timm", "resnetv2_50", size=size, **options)


def short_keras(version: int, blocks: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """As the networks of keras.applications but for the number of blocks."""

    def peer(size: int) -> Any:
        peers.keras()
        from keras.src.applications import resnet

        stack = getattr(resnet, f"stack_residual_blocks_v{version}")

        def stages(x: Any) -> Any:
            for stage in range(4):
                options = {"stride1": strides[stage], "name": f"conv{stage + 2}"}
                x = stack(x, 64 * 2**stage, blocks[stage], **options)
            return x

        options = {"classes": 10, "classifier_activation": None, "weights": None}
        network = resnet.ResNet(stages, version == 2, True, input_shape=(size, size, 3), **options)
        return peers.randomized(network, size=size)

    return peer


SMALL = [
    whole("resnet18", "torchvision"),
    case("resnet50", short_torch("torchvision"), blocks=BLOCKS),
    case(
        "resnet50d",
        short_torch("timm", stem_width=32, stem_type="deep", avg_down=True),
        blocks=BLOCKS,
    ),
    case("resnetv2_50", short_torch_v2, blocks=BLOCKS),
    case("resnet50_keras", short_keras(1, BLOCKS, (1, 2, 2, 2)), blocks=BLOCKS),
    case("resnetv2_50_keras", short_keras(2, TWO, (2, 2, 2, 1)), blocks=TWO),
]
EXAMPLE = [
    case("resnet20v1_keras", lambda size: peers.cifar_v1(20, size=size)),
    case("resnet20v2_keras", lambda size: peers.cifar_v2(20, size=size)),
    case("resnet29v2_keras", lambda size: peers.cifar_v2(29, size=size)),
]
WHOLE = [
    *(whole(f"resnet{n}", "torchvision") for n in (18, 34, 50, 101, 152)),
    *(whole(f"wide_resnet{n}_2", "torchvision") for n in (50, 101)),
    *(whole(name, "timm") for name in ("resnet200", "resnet18d", "resnet34d", "resnet50d")),
    *(whole(name, "timm") for name in ("resnet101d", "resnet152d", "resnet200d")),
    *(whole(f"resnetv2_{n}", "timm") for n in (50, 101, 152)),
    *(whole(f"resnet{n}_keras", "keras", f"ResNet{n}") for n in (50, 101, 152)),
    *(whole(f"resnetv2_{n}_keras", "keras", f"ResNet{n}V2") for n in (50, 101, 152)),
]

# What the libraries count; Keras counts the running statistics as well.
PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet200": 64_673_832,
    "wide_resnet50_2": 68_883_240,
    "resnet50d": 25_576_264,
    "resnetv2_50": 25_549_352,
}
PARAMETERS_AND_STATISTICS = {
    "resnetv2_50_keras": 25_613_800,
    "resnetv2_101_keras": 44_675_560,
    "resnetv2_152_keras": 60_380_648,
}


def assert_like_the_peer(case: Case, size: int) -> None:
    model, peer = case.model(num_classes=10), case.peer(size)
    both, images = parity.pair(case.network, model, peer, size=size), parity.images_of(size)
    assert_round_trip(both)
    assert parity.evaluation_error(both, images) <= LOGITS
    assert parity.training_error(both, images) <= LOGITS
    if case.gradients:
        errors = parity.gradient_errors(both, images)
        assert {name: error for name, error in errors.items() if error > GRADIENTS} == {}


def assert_round_trip(both: parity.Pair) -> None:
    ours, theirs = both.exported(both.variables), peers.tensors(both.peer)
    if both.kind == "keras":
        theirs, _ = renumbered(theirs)
    else:
        torch = pytest.importorskip("torch")
        both.peer.load_state_dict({k: torch.from_numpy(v) for k, v in ours.items()}, strict=True)
    assert ours.keys() == theirs.keys()
    for name in theirs:
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.parametrize("case", SMALL)
def test_logits_and_gradients_are_equal(case):
    assert_like_the_peer(case, 40)


@pytest.mark.parametrize("case", EXAMPLE)
def test_logits_of_the_example_of_keras_are_equal(case):
    assert_like_the_peer(case, 32)


@pytest.mark.large
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", WHOLE)
def test_logits_and_gradients_of_the_whole_network_are_equal(case, size):
    with properties.unchecked():  # to save time: hundreds of blocks are gone through
        assert_like_the_peer(case, size)


def counts(network):
    model = MODELS[network](num_classes=1000)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    with properties.unchecked():  # to save time, here too
        variables = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), images)
    return {kind: sum(leaf.size for leaf in jax.tree.leaves(variables[kind])) for kind in variables}


@pytest.mark.parametrize("network", PARAMETERS)
def test_parameters_are_as_published(network):
    assert counts(network)["params"] == PARAMETERS[network]


@pytest.mark.parametrize("network", PARAMETERS_AND_STATISTICS)
def test_parameters_and_statistics_are_as_published(network):
    assert sum(counts(network).values()) == PARAMETERS_AND_STATISTICS[network]
