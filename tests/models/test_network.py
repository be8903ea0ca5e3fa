"""The options that all convolutional networks share."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import layers
from jaxml.config import ModelConfig
from jaxml.errors import InputError
from jaxml.models import (
    MODELS,
    CifarResNet,
    CifarResNetV2,
    abstract_variables,
    create_model,
    intermediate_shapes,
    intermediates,
    network_class,
)
from jaxml.models._network import POOLS

IMAGES = np.random.default_rng(0).normal(size=(3, 12, 8, 2)).astype(np.float32)
CONVOLUTIONAL = [name for name in MODELS if name not in ("linear", "mlp")]
# The first of each class; the others differ in numbers.
FAMILIES = list({network_class(MODELS[name]): name for name in reversed(CONVOLUTIONAL)}.values())


def tiny(num_classes=5, **options):
    return MODELS["resnet_tiny"](num_classes=num_classes, **options)


def draw(model, images=IMAGES):
    """Initial variables, by a program that is compiled in haste."""
    hasty: Any = {"xla_backend_optimization_level": 0}
    init = jax.jit(partial(model.init, train=False)).lower(jax.random.key(0), images)
    return init.compile(hasty)(jax.random.key(0), images)


@cache
def variables_of(**options):
    return draw(tiny(**options))


def test_heads_are_those_of_the_layers():
    assert set(POOLS) == set(layers.HEADS)


@pytest.mark.slow
@pytest.mark.parametrize("head", POOLS)
def test_each_head_gets_the_last_features(head):
    model, variables = tiny(head=head), variables_of(head=head)
    found = intermediates(model, variables, jnp.asarray(IMAGES))
    params = variables["params"]["head"]
    expected = layers.HEADS[head](found["stage2"], params["kernel"], params["bias"])
    logits = jnp.asarray(model.apply(variables, IMAGES, train=False))
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_no_classes_are_the_features_before_the_head():
    model = tiny(num_classes=0)
    variables = draw(model)
    assert "head" not in variables["params"]
    features = jnp.asarray(model.apply(variables, IMAGES, train=False))
    assert features.shape == (3, 8)
    found = intermediates(model, variables, jnp.asarray(IMAGES), ["features"])
    np.testing.assert_array_equal(features, found["features"])


@pytest.mark.slow
def test_dropout_is_before_the_head_and_in_training_only():
    # With a head of ones, the logits are the sums of the features that are left.
    model, variables = tiny(keep_prob=0.5), variables_of()
    ones = jax.tree.map(jnp.ones_like, variables["params"]["head"])
    variables = {**variables, "params": {**variables["params"], "head": ones}}
    apply = jax.jit(
        partial(model.apply, mutable=["batch_stats", "intermediates"]), static_argnames="train"
    )
    logits, sown = apply(variables, IMAGES, train=True, rngs={"dropout": jax.random.key(1)})
    features = np.asarray(sown["intermediates"]["features output"], np.float64)
    sums = {
        round(2 * sum(f for f, keep in zip(row, f"{mask:08b}", strict=True) if keep == "1") + 1, 3)
        for row in features
        for mask in range(256)
    }
    assert all(np.abs(np.asarray(list(sums)) - float(v)).min() < 2e-3 for v in logits[:, 0])
    again, _ = apply(variables, IMAGES, train=True, rngs={"dropout": jax.random.key(2)})
    assert not np.allclose(logits, again)
    evaluated, _ = apply(variables, IMAGES, train=False)
    np.testing.assert_array_equal(evaluated, tiny().apply(variables, IMAGES, train=False))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_the_common_options(name):
    kind = network_class(MODELS[name])
    size, classes = kind.image_size, 7
    shape = (size, size + 16, 4)
    model = MODELS[name](num_classes=classes, head="gmp", dtype=jnp.bfloat16, keep_prob=0.5)
    variables = abstract_variables(model, shape)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    logits, updated = jax.eval_shape(
        lambda variables, images, key: model.apply(
            variables,
            images,
            train=True,
            mutable=["batch_stats", "auxiliary"],
            rngs={"dropout": key},
        ),
        variables,
        images,
        key,
    )
    assert (logits.shape, logits.dtype) == ((2, classes), jnp.float32)
    for head in jax.tree.leaves(updated.get("auxiliary", {})):
        assert (head.shape, head.dtype) == ((2, classes), jnp.float32)
    if "batch_stats" in variables:  # the first Inception has none
        shapes = [jax.tree.map(jnp.shape, v["batch_stats"]) for v in (updated, variables)]
        assert shapes[0] == shapes[1]
        assert {leaf.dtype for leaf in jax.tree.leaves(updated)} == {jnp.dtype("float32")}
    assert isinstance(hash(model), int)  # so that it can be a static argument of `jit`
    found = intermediate_shapes(model, shape)
    assert len(found) > 2
    assert found["features"] == variables["params"]["head"]["kernel"].shape[:1]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_program_of_every_family_is_in_the_dtype_that_was_asked_for(name):
    size = network_class(MODELS[name]).image_size
    model = MODELS[name](num_classes=7, dtype=jnp.bfloat16)
    variables = abstract_variables(model, (size, size, 3))
    images = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    program = jax.make_jaxpr(partial(model.apply, train=False))(variables, images)
    products = [
        equation
        for equation in program.jaxpr.eqns
        if equation.primitive.name in ("conv_general_dilated", "dot_general")
    ]
    assert products
    for equation in products:
        assert {str(var.aval.dtype) for var in equation.invars} == {"bfloat16"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"name": "mlp", "head": "gap"},
            "config.model.head must be unset for mlp, which has no such option, got 'gap'",
        ),
        (
            {"name": "inception_v3", "zero_init": True},
            "config.model.zero_init must be unset for inception_v3, .*, got true",
        ),
        (
            {"name": "plain20", "survival_prob": 0.5},
            "config.model.survival_prob must be unset",
        ),
        ({"name": "googlenet", "scan": True}, "config.model.scan must be unset"),
        (
            {"name": "linear", "keep_prob": 0.5},
            "config.model.keep_prob must be unset for linear, .*, got 0.5",
        ),
    ],
)
def test_an_option_that_a_network_lacks_is_told(options, message):
    with pytest.raises(InputError, match=message):
        create_model(ModelConfig(**options), num_classes=2)


def test_settings_reach_the_network():
    config = ModelConfig(
        name="resnet29v2", head="gmp", keep_prob=0.7, survival_prob=0.8, zero_init=True, remat=True
    )
    model = create_model(config, num_classes=3, frozen="stem")
    for name in ("head", "keep_prob", "survival_prob", "zero_init", "remat"):
        assert getattr(model, name) == getattr(config, name)
    assert model.frozen == "stem"
    assert not model.scan
    without = create_model(ModelConfig(name="inception_small", auxiliary=False), num_classes=3)
    assert not without.auxiliary
    with pytest.raises(
        InputError, match=r"config.model.scan must be false with config.weights.freeze"
    ):
        create_model(ModelConfig(scan=True), num_classes=3, frozen="stem")


SHALLOW = {
    "v1": (partial(CifarResNet, blocks_per_stage=2, stage_features=(4, 8)), "norm2", "scale"),
    "v2": (partial(CifarResNetV2, blocks_per_stage=2, stage_features=(4, 8)), "conv3", "kernel"),
    "inception": (MODELS["inception_resnet_small"], "expand", "kernel"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHALLOW)
def test_zero_initialised_blocks_start_as_their_shortcuts(name):
    constructor, last, weight = SHALLOW[name]
    model = constructor(num_classes=0, zero_init=True)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    variables = draw(model, images)
    found = intermediates(model, variables, jnp.asarray(images), ["stem", "stage1"])
    if name != "v2":  # whose first block widens the stem's result
        np.testing.assert_allclose(found["stage1"], found["stem"], rtol=1e-6)
    assert not np.any(variables["params"]["stage2"]["block2"][last][weight])
    plain = draw(constructor(num_classes=0), images)
    assert np.all(plain["params"]["stage2"]["block2"][last][weight])
