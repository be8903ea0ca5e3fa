"""The CIFAR networks against a forward pass in NumPy, and the counts of their paper."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.errors import InputError
from jaxml.models import MODELS, intermediate_shapes
from jaxml.models._residual import SHORTCUTS
from tests import references

SIZES = [
    ((8, 8), "zero_pad"),
    ((7, 5), "projection"),
    ((3, 3), "zero_pad"),
    ((1, 1), "projection"),
]
PARAMETERS = {
    "resnet20v1": 269_722,
    "resnet32v1": 464_154,
    "resnet44v1": 658_586,
    "resnet56v1": 853_018,
    "resnet110v1": 1_727_962,
}


def images_of(size, batch=4, channels=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(batch, *size, channels)).astype(np.float32)


def tiny(shortcut="zero_pad", **options):
    return MODELS["resnet_tiny"](num_classes=10, shortcut=shortcut, **options)


def abstract_variables(model, size=(32, 32)):
    images = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(partial(model.init, train=False), key, images)


@cache
def variables_of(shortcut):
    """Random values for every parameter and statistic: none is at its initial 0 or 1."""
    rng = np.random.default_rng(1)
    abstract = abstract_variables(tiny(shortcut))

    def draw(path, leaf):
        if path[-1].key in ("scale", "var"):
            return rng.uniform(0.5, 1.5, size=leaf.shape).astype(np.float32)
        return rng.normal(scale=0.3, size=leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, abstract)


@cache
def apply(shortcut, *, train, dtype=jnp.float32):
    """The compiled network: logits and the statistics after them."""
    model = tiny(shortcut, dtype=dtype)
    return references.plain_jit(partial(model.apply, train=train, mutable=["batch_stats"]))


def reference(variables, images, *, train):
    """Logits and the statistics after them in float64."""
    wide = references.float64(variables)
    network = references.Network(wide["params"], wide["batch_stats"], train=train)
    return network(images.astype(np.float64)), network.statistics


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_the_number_of_parameters_is_the_published_one_and_the_name_counts_the_kernels(name):
    params = abstract_variables(MODELS[name](num_classes=10))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == PARAMETERS[name]
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    assert name == f"resnet{sum(path[-1].key == 'kernel' for path in paths)}v1"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters", "depth"),
    [
        ("plain20", 269_722, 20),  # shortcuts of option A have none
        ("resnet164v1", 1_704_154, 164),  # the papers say 1.7 million of both
        ("resnet164v2", 1_703_258, 164),
        ("resnet29v2_keras", 843_786, 29),
        ("resnet20v2", 219_482, 20),
    ],
)
def test_other_families_have_as_many_parameters_and_layers_as_their_names_say(
    name, parameters, depth
):
    params = abstract_variables(MODELS[name](num_classes=10))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == parameters
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    layers = [path for path in paths if "kernel" in path and "shortcut" not in path]
    assert len(layers) == depth


class PlainReference(references.Network):
    """The forward pass without shortcuts."""

    def _block(self, x, stage, name, strides):
        block = self.params[stage][name]
        y = self._conv(x, block["conv1"], strides)
        y = np.maximum(self._norm(y, [stage, name, "norm1"]), 0)
        y = self._norm(self._conv(y, block["conv2"], 1), [stage, name, "norm2"])
        return np.maximum(y, 0)


@pytest.mark.slow
def test_a_plain_network_is_the_forward_pass_of_numpy_without_shortcuts():
    images, variables = images_of((8, 8)), variables_of("zero_pad")
    model = MODELS["plain20"](num_classes=10, blocks_per_stage=1, stage_features=(4, 8))
    logits, _ = model.apply(
        jax.tree.map(jnp.asarray, variables), jnp.asarray(images), train=True, mutable=True
    )
    wide = references.float64(variables)
    expected = PlainReference(wide["params"], wide["batch_stats"], train=True)(images)
    references.assert_close(logits, expected, 1e-5)


@pytest.mark.slow
def test_projections_add_their_kernels_scales_and_biases():
    model = MODELS["resnet20v1"](num_classes=10, shortcut="projection")
    params = abstract_variables(model)["params"]
    projections = (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)
    total = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert total == PARAMETERS["resnet20v1"] + projections


@pytest.mark.slow
@pytest.mark.parametrize(("size", "shortcut"), SIZES, ids=str)
def test_training_is_the_forward_pass_of_numpy_and_moves_the_statistics(size, shortcut):
    images = images_of(size)
    logits, updated = apply(shortcut, train=True)(variables_of(shortcut), images)
    expected, statistics = reference(variables_of(shortcut), images, train=True)
    assert logits.dtype == jnp.float32
    references.assert_close(logits, expected, 1e-5)
    references.assert_trees_close(updated["batch_stats"], statistics, 1e-5)


@pytest.mark.parametrize(("size", "shortcut"), SIZES[:2], ids=str)
def test_evaluation_is_the_forward_pass_of_numpy_and_leaves_the_statistics(size, shortcut):
    images = images_of(size)
    logits, updated = apply(shortcut, train=False)(variables_of(shortcut), images)
    expected, _ = reference(variables_of(shortcut), images, train=False)
    assert logits.dtype == jnp.float32
    references.assert_close(logits, expected, 1e-5)
    for kept, before in zip(
        jax.tree.leaves(updated["batch_stats"]),
        jax.tree.leaves(variables_of(shortcut)["batch_stats"]),
        strict=True,
    ):
        np.testing.assert_array_equal(kept, before)


@pytest.mark.slow
@pytest.mark.parametrize("train", [True, False], ids=["training", "evaluation"])
def test_bfloat16_has_float32_logits_and_statistics_close_to_those_of_float32(train):
    images = images_of((8, 8))
    variables = variables_of("projection")
    logits, updated = apply("projection", train=train, dtype=jnp.bfloat16)(variables, images)
    dtypes = {leaf.dtype.name for leaf in jax.tree.leaves([logits, updated])}
    assert dtypes == {"float32"}
    expected, statistics = reference(variables, images, train=train)
    # Each of seven layers rounds its kernel and its result twice, and the errors add like noise.
    rtol = 2 * np.sqrt(4 * 7) * references.ROUNDING["bfloat16"]
    references.assert_close(logits, expected, rtol)
    references.assert_trees_close(updated["batch_stats"], statistics, rtol)
    assert np.abs(np.asarray(logits, np.float64) - expected).max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_every_parameter_has_the_gradient_of_the_forward_pass_of_numpy(shortcut):
    images = images_of((8, 8))
    variables = variables_of(shortcut)
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(4, 10)).astype(np.float32)

    def loss(params):
        statistics = jax.tree.map(jnp.asarray, variables["batch_stats"])
        logits, _ = tiny(shortcut).apply(
            {"params": params, "batch_stats": statistics},
            jnp.asarray(images),
            train=True,
            mutable=["batch_stats"],
        )
        return (logits * weights).sum()

    gradient = references.plain_jit(jax.grad(loss))(variables["params"])
    leaves, structure = jax.tree.flatten(references.float64(variables["params"]))
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.all(np.asarray(leaf) != 0), jax.tree_util.keystr(path)

    for index, leaf in enumerate(leaves):
        direction = rng.normal(size=leaf.shape)
        losses = []
        for step in (1e-6, -1e-6):
            moved = [*leaves[:index], leaf + step * direction, *leaves[index + 1 :]]
            params = {"params": jax.tree.unflatten(structure, moved)}
            logits, _ = reference({**variables, **params}, images, train=True)
            losses.append((logits * weights).sum())
        slope = (losses[0] - losses[1]) / 2e-6
        got = np.asarray(jax.tree.leaves(gradient)[index], np.float64)
        scale = np.linalg.norm(got) * np.linalg.norm(direction)
        assert abs((got * direction).sum() - slope) < 1e-5 * scale


@pytest.mark.slow
def test_vmap_over_an_ensemble_of_parameters_is_a_loop():
    structure = jax.tree.structure(variables_of("zero_pad"))
    stacks = [np.stack([leaf, 0.9 * leaf]) for leaf in jax.tree.leaves(variables_of("zero_pad"))]
    images = images_of((4, 4))

    def logits(*leaves):
        return tiny().apply(jax.tree.unflatten(structure, leaves), images, train=False)

    references.assert_vmap_is_loop(logits, *stacks, rtol=2e-6)


def test_images_of_a_large_mean_give_the_logits_of_numpy():
    images = 1e4 + images_of((8, 8))
    logits, _ = apply("zero_pad", train=True)(variables_of("zero_pad"), images)
    expected, _ = reference(variables_of("zero_pad"), images, train=True)
    references.assert_close(logits, expected, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "resolutions"),
    [((32, 32), [(32, 32), (16, 16), (8, 8)]), ((28, 27), [(28, 27), (14, 14), (7, 7)])],
    ids=str,
)
def test_each_stage_after_the_first_halves_the_resolution_and_doubles_the_filters(
    size, resolutions
):
    model = MODELS["resnet20v1"](num_classes=10)
    found = intermediate_shapes(model, (*size, 3))
    expected = {"stem": (*size, 16), "features": (64,)}
    for stage, (filters, resolution) in enumerate(zip((16, 32, 64), resolutions, strict=True), 1):
        expected[f"stage{stage}"] = (*resolution, filters)
    assert found == expected


def test_only_the_first_block_of_a_later_stage_has_a_shortcut_with_parameters():
    params = abstract_variables(MODELS["resnet20v1"](num_classes=10, shortcut="projection"))
    blocks = {
        f"{stage}/{name}"
        for stage in ("stage1", "stage2", "stage3")
        for name, block in params["params"][stage].items()
        if "shortcut" in block
    }
    assert blocks == {"stage2/block1", "stage3/block1"}


def test_one_set_of_parameters_serves_images_of_any_size():
    assert abstract_variables(tiny(), (8, 8)) == abstract_variables(tiny(), (5, 4))


def test_an_unknown_shortcut_is_an_error_that_lists_the_known_ones():
    message = (
        "config.model.shortcut must be one of zero_pad, projection, bare_projection, "
        "got 'projecton'; did you mean"
    )
    with pytest.raises(InputError, match=message):
        abstract_variables(tiny("projecton"))
