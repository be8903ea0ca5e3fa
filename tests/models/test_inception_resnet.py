"""Inception v4 and the Inception-ResNets beside timm and Keras, and the tables of their paper."""

import re
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.errors import InputError
from jaxml.models import intermediate_shapes
from jaxml.models._inception_blocks import Branches
from jaxml.models._inception_resnet import INCEPTION_RESNETS
from jaxml.models._inception_v4 import INCEPTIONS_V4
from jaxml.weights import _convert
from jaxml.weights._names import naming_of
from tests.models import parity, peers

NETWORKS = {**INCEPTIONS_V4, **INCEPTION_RESNETS}
LOGITS = 1e-4

# Of the figures 10 to 15 for v1: the convolutions as (filters in, filters out, size of the kernel).
STEM_V1 = [(3, 32, 9), (32, 32, 9), (32, 64, 9), (64, 80, 1), (80, 192, 9), (192, 256, 9)]
A_V1 = [(256, 32, 1)] * 3 + [(32, 32, 9)] * 3
REDUCTION_A_V1 = [(256, 384, 9), (256, 192, 1), (192, 192, 9), (192, 256, 9)]
B_V1 = [(896, 128, 1)] * 2 + [(128, 128, 7)] * 2
REDUCTION_B_V1 = [(896, 256, 1)] * 3 + [(256, 384, 9)] + [(256, 256, 9)] * 3
C_V1 = [(1792, 192, 1)] * 2 + [(192, 192, 3)] * 2
LINEAR_V1 = 5 * (96 + 1) * 256 + 10 * (256 + 1) * 896 + 5 * (384 + 1) * 1792

PARAMETERS = {"inception_v4": 42_679_816, "inception_resnet_v2": 55_843_464}


@cache
def variables_of(network: str) -> Any:
    """The shapes of the variables for images of the published size."""
    model = NETWORKS[network](num_classes=1000)
    images = jax.ShapeDtypeStruct((1, model.image_size, model.image_size, 3), jnp.float32)
    return jax.eval_shape(partial(model.init, train=False), jax.random.key(0), images)


def count(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


# Published numbers and shapes.


@pytest.mark.slow
@pytest.mark.parametrize("network", PARAMETERS)
def test_parameters_are_as_published(network):
    assert count(variables_of(network)["params"]) == PARAMETERS[network]


@pytest.mark.slow
def test_the_number_of_keras_counts_the_statistics():
    assert count(variables_of("inception_resnet_v2_keras")) == 55_873_736


@pytest.mark.slow
def test_v1_has_the_parameters_of_its_figures():
    units = STEM_V1 + 5 * A_V1 + REDUCTION_A_V1 + 10 * B_V1 + REDUCTION_B_V1 + 5 * C_V1
    kernels = sum(given * made * size for given, made, size in units)
    norms = 2 * sum(made for _, made, _ in units)
    expected = kernels + norms + LINEAR_V1 + (1792 + 1) * 1000
    assert count(variables_of("inception_resnet_v1")["params"]) == expected


def test_images_that_would_vanish_are_an_error():
    message = "images must be at least 75x75 for InceptionV4, got 74x299"
    with pytest.raises(InputError, match=re.escape(message)):
        intermediate_shapes(NETWORKS["inception_v4"](num_classes=10), (74, 299, 3))


# Modules of timm's networks, by the names that they have there.


class Part(NamedTuple):
    """A module: of which network, its paths in ours and in timm's, and its input's channels."""

    network: str
    ours: str
    theirs: str
    channels: int


PARTS = [
    Part("inception_v4", "mixed_3a", "features.3", 64),
    Part("inception_v4", "mixed_4a", "features.4", 160),
    Part("inception_v4", "mixed_5a", "features.5", 192),
    Part("inception_v4", "stage1/block1", "features.6", 384),
    Part("inception_v4", "reduction_a", "features.10", 384),
    Part("inception_v4", "stage2/block7", "features.17", 1024),
    Part("inception_v4", "reduction_b", "features.18", 1024),
    Part("inception_v4", "stage3/block3", "features.21", 1536),
    Part("inception_resnet_v2", "mixed_5b", "mixed_5b", 192),
    Part("inception_resnet_v2", "stage1/block10", "repeat.9", 320),
    Part("inception_resnet_v2", "mixed_6a", "mixed_6a", 320),
    Part("inception_resnet_v2", "stage2/block1", "repeat_1.0", 1088),
    Part("inception_resnet_v2", "mixed_7a", "mixed_7a", 1088),
    Part("inception_resnet_v2", "stage3/block9", "repeat_2.8", 2080),
    Part("inception_resnet_v2", "stage3/block10", "block8", 2080),
]


@cache
def shapes_of_timm(network: str) -> Any:
    """The network of timm without values."""
    torch, timm = pytest.importorskip("torch"), peers.timm()
    with torch.device("meta"):
        return timm.create_model(network)


def module_of(part: Part) -> Any:
    """The module by itself."""
    model = NETWORKS[part.network](num_classes=0)
    if match := re.fullmatch(r"stage(\d)/block(\d+)", part.ours):
        level = model.stage_specs[int(match[1]) - 1]
        return model.blocks(level)[int(match[2]) - 1]()
    tables = dict(entry for level in model.stage_specs for entry in level.entry)
    return Branches(tables[part.ours], unit=model.unit)


def pair_of(part: Part) -> parity.Pair:
    """The module with the random weights of timm's."""
    theirs = shapes_of_timm(part.network).get_submodule(part.theirs).to_empty(device="cpu")
    for value in theirs.state_dict().values():
        value.zero_()
    peer = peers.randomized(theirs, size=9, channels=part.channels)
    kind, naming_of_network = naming_of(part.network)

    def naming(paths):
        inside = {f"{part.ours}/{path}": path for path in paths if path != "head"}
        names = naming_of_network(list(inside))
        assert all(name.startswith(f"{part.theirs}.") for name in names.values())
        return {inside[path]: name[len(part.theirs) + 1 :] for path, name in names.items()} | {
            "head": "head"
        }

    module, shape = module_of(part), (1, 9, 9, part.channels)
    images = jax.ShapeDtypeStruct(shape, jnp.float32)
    template = jax.eval_shape(partial(module.init, train=False), jax.random.key(0), images)
    order = _convert.call_order(module, shape)
    tensors = peers.tensors(peer)
    variables = _convert.from_library(tensors, template, kind, naming, order=order)
    return parity.Pair(part.network, peer, module, variables, kind, naming, order)


def marked(part: Part) -> Any:
    """A case, which is a large one unless its module is of a kind of its own."""
    small = ("mixed_4a", "stage1/block1", "stage3/block3", "mixed_7a", "stage3/block10")
    marks = [] if part.ours in small else [pytest.mark.large]
    return pytest.param(part, marks=marks, id=f"{part.network} {part.ours}")


@pytest.mark.slow
@pytest.mark.parametrize("part", [marked(part) for part in PARTS])
def test_modules_agree(part):
    both = pair_of(part)
    rng = np.random.default_rng(1)
    images = rng.normal(size=(4, 9, 9, part.channels)).astype(np.float32)

    @parity.compiled
    def results(variables, images):
        trained, _ = both.model.apply(variables, images, train=True, mutable=["batch_stats"])
        return both.model.apply(variables, images, train=False), trained

    for train, ours in enumerate(results(both.variables, images)):
        theirs = peers.logits(both.peer, images, train=bool(train)).transpose(0, 2, 3, 1)
        assert parity.error(ours, theirs) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("network", PARAMETERS)
def test_every_module_has_its_name_and_its_place_in_timm(network):
    variables = variables_of(network)
    leaves = jax.tree_util.tree_leaves_with_path([variables["params"], variables["batch_stats"]])
    paths = {"/".join(key.key for key in path[1:-1]) for path, _ in leaves}
    _, naming = naming_of(network)
    ours = sorted(naming(list(paths)).values())
    assert ours == sorted(
        {name.rpartition(".")[0] for name in shapes_of_timm(network).state_dict()}
    )


# Whole networks.


class Whole(NamedTuple):
    """A network of ours, and its peer."""

    network: str
    library: str
    name: str


WHOLE = [
    Whole("inception_v4", "timm", "inception_v4"),
    Whole("inception_resnet_v2", "timm", "inception_resnet_v2"),
    Whole("inception_resnet_v2_keras", "keras", "InceptionResNetV2"),
]


@pytest.mark.large
@pytest.mark.parametrize("size", [139, 171, 299])
@pytest.mark.parametrize("whole", WHOLE, ids=lambda whole: f"{whole.library} {whole.name}")
def test_logits_of_the_whole_network_agree(whole, size):
    if whole.library == "keras":
        peer = peers.keras_peer(whole.name, size=size, classes=10)
    else:
        peer = peers.torch_peer(whole.library, whole.name, size=size, num_classes=10)
    model = NETWORKS[whole.network](num_classes=10, keep_prob=1.0)
    both, images = parity.pair(whole.network, model, peer, size=size), parity.images_of(size)
    assert parity.evaluation_error(both, images) <= LOGITS
    assert parity.training_error(both, images) <= LOGITS
    ours, theirs = both.exported(both.variables), peers.tensors(both.peer)
    if both.kind == "keras":
        theirs, _ = _convert.renumbered(theirs)
    assert ours.keys() == theirs.keys()
    for name in theirs:
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(ours[name], theirs[name])
