"""Costs against XLA's own count and against published figures; layers against the tree."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from jaxml.models import MODELS, abstract_variables, summarize, summarize_layers

# Multiply-adds in units of 10^9 and activations in 10^6, as timm's tables of results give them.
PUBLISHED = {"resnet18": (1.82, 2.48), "resnet50": (4.11, 11.11), "resnet50d": (4.35, 11.92)}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_costs_are_the_published_ones(name):
    cost = summarize(MODELS[name](num_classes=1000), (224, 224, 3))
    multiply_adds, activations = PUBLISHED[name]
    # The tables count batch norm, too.
    assert cost.multiply_adds / 1e9 == pytest.approx(multiply_adds, rel=0.01)
    assert cost.activations / 1e6 == pytest.approx(activations, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "resnet20v2", "inception_small"])
def test_multiply_adds_are_about_half_of_what_xla_counts(name):
    model = MODELS[name](num_classes=10)
    cost = summarize(model, (32, 32, 3))
    variables = abstract_variables(model, (32, 32, 3))
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    lowered = jax.jit(lambda v, x: model.apply(v, x, train=False)).lower(variables, images)
    cost_analysis: Any = lowered.cost_analysis()
    flops = cost_analysis["flops"]
    # XLA does not count what meets the zeros of a padding, but adds, norms and pools.
    assert cost.multiply_adds == pytest.approx(flops / 2, rel=0.15)
    if hasattr(model, "scan"):
        assert summarize(model.clone(scan=True), (32, 32, 3)) == cost


def test_the_cost_of_an_mlp_is_that_of_its_products():
    cost = summarize(MODELS["mlp"](num_classes=10, hidden_features=(7,)), (5,))
    assert cost == (5 * 7 + 7 + 7 * 10 + 10, 0, 5 * 7 + 7 * 10, 7 + 10)


def test_layers_are_listed_in_order_with_all_parameters():
    model = MODELS["resnet_tiny"](num_classes=10)
    table = summarize_layers(model, (8, 8, 1))
    assert [layer.path for layer in table][:3] == ["stem_conv", "stem_norm", "stage1/block1/conv1"]
    assert table[-1] == ("head", "Dense", (10,), {"bias": (10,), "kernel": (8, 10)})
    assert table[0].output == (8, 8, 4)
    total = sum(shape_size(shape) for layer in table for shape in layer.parameters.values())
    assert total == summarize(model, (8, 8, 1)).parameters


def shape_size(shape):
    size = 1
    for side in shape:
        size *= side
    return size


def test_a_network_without_parameters_costs_nothing():
    features = MODELS["linear"](num_classes=0)
    assert summarize(features, (4, 4, 1)) == (0, 0, 0, 0)
    assert summarize_layers(features, (4, 4, 1)) == []
