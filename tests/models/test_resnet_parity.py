"""The residual networks beside those of torchvision, timm and Keras: equal logits and gradients."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models import MODELS
from jaxml.models.resnet import ResNet, ResNetV2
from jaxml.weights.keras_numbers import renumbered
from tests import laws
from tests.models import parity, peers

LOGITS, GRADIENTS = 1e-4, 1e-3
SIZES = (64, 75, 96)
WITH_GRADIENTS = ("resnet18", "resnet50", "resnetv2_50")
BLOCKS = (1, 2, 1, 1)
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
    # The loop leaves the sums as they are, and a deep network compiles in a fraction of the time.
    model = partial(MODELS[network], scan=network not in WITH_GRADIENTS)
    return pytest.param(Case(network, model, lambda size: peer(size=size)), id=f"{library}-{name}")


def short_torch(block: str, **options: Any) -> Callable[[int], Any]:
    """A network of torchvision or timm of few blocks."""

    def peer(size: int) -> Any:
        library = peers.timm() if options else peers.torchvision()
        module = library.models.resnet
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
    case(
        "resnetv2_50_keras", partial(MODELS["resnetv2_50_keras"], blocks=TWO), short_keras(2, TWO)
    ),
]
CIFAR = [
    case(
        "resnet20v1_keras", MODELS["resnet20v1_keras"], lambda size: peers.cifar_v1(20, size=size)
    ),
    case(
        "resnet20v2_keras", MODELS["resnet20v2_keras"], lambda size: peers.cifar_v2(20, size=size)
    ),
    case(
        "resnet29v2_keras", MODELS["resnet29v2_keras"], lambda size: peers.cifar_v2(29, size=size)
    ),
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


SMALL = [whole("resnet18", "torchvision", "resnet18"), *SHORT]

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


def pair(case: Case, size: int) -> parity.Pair:
    return parity.pair(case.network, case.model(num_classes=10), case.peer(size), size=size)


def assert_equal_logits(both: parity.Pair, size: int) -> None:
    images = parity.images_of(size)
    assert parity.evaluation_error(both, images) <= LOGITS
    assert parity.training_error(both, images) <= LOGITS


def assert_equal_gradients(both: parity.Pair, size: int) -> None:
    errors = parity.gradient_errors(both, parity.images_of(size))
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
def test_logits_are_equal(case):
    both = pair(case, 40)
    assert_round_trip(both)
    assert_equal_logits(both, 40)


@pytest.mark.parametrize("case", CIFAR)
def test_logits_of_the_example_of_keras_are_equal(case):
    both = pair(case, 32)
    assert_round_trip(both)
    assert_equal_logits(both, 32)


@pytest.mark.parametrize("case", [case for case in SMALL if case.values[0].network == "resnet18"])
def test_gradients_are_equal(case):
    assert_equal_gradients(pair(case, 32), 32)


@pytest.mark.large
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", WHOLE)
def test_logits_of_the_whole_network_are_equal(case, size):
    both = pair(case, size)
    assert_round_trip(both)
    assert_equal_logits(both, size)
    if case.network in WITH_GRADIENTS:
        assert_equal_gradients(both, size)


def counts(network):
    model = MODELS[network](num_classes=1000)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    with laws.unchecked():  # only to save time: hundreds of blocks are gone through
        variables = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), images)
    return {kind: sum(leaf.size for leaf in jax.tree.leaves(variables[kind])) for kind in variables}


@pytest.mark.parametrize("network", PARAMETERS)
def test_parameters_are_as_published(network):
    assert counts(network)["params"] == PARAMETERS[network]


@pytest.mark.parametrize("network", PARAMETERS_AND_STATISTICS)
def test_parameters_and_statistics_are_as_published(network):
    assert sum(counts(network).values()) == PARAMETERS_AND_STATISTICS[network]
