"""The three classifier heads against NumPy and torch."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from jaxml import layers
from jaxml.layers import HEADS
from tests import properties, references

SHAPE, CLASSES = (2, 3, 4, 5), 6
heads = pytest.mark.parametrize("name", HEADS)


def example(name, scale=1.0):
    rng = np.random.default_rng(0)
    rows = 3 * 4 * 5 if name == "fc" else 5
    return [scale * rng.normal(size=size) for size in (SHAPE, (rows, CLASSES), (CLASSES,))]


def reference(name):
    def head(features, kernel, bias):
        if name == "fc":
            x = features.reshape(*features.shape[:-3], -1)
        elif name == "gap":
            x = references.global_average_pool(features)
        else:
            x = features.max((-3, -2))
        bias = np.zeros(kernel.shape[1]) if bias is None else bias
        return references.dense(x, kernel, bias)

    return head


@pytest.mark.slow
@heads
def test_features_become_logits(name):
    by = "NumPy float64"
    features, kernel, bias = example(name)
    properties.check(HEADS[name], features, kernel, bias, reference=reference(name), by=by)
    properties.check(HEADS[name], features, kernel, None, reference=reference(name), by=by, grads=0)


@heads
def test_torch_agrees(name):
    torch = pytest.importorskip("torch")

    def head(features, kernel, bias):
        x = torch.from_numpy(np.moveaxis(features, -1, 1).copy())
        if name == "fc":
            x = x.permute(0, 2, 3, 1).flatten(1)  # rows of our kernels run height, width, channels
        elif name == "gap":
            x = torch.nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)
        else:
            x = torch.nn.functional.adaptive_max_pool2d(x, 1).flatten(1)
        kernel, bias = torch.from_numpy(kernel), torch.from_numpy(bias)
        return torch.nn.functional.linear(x, kernel.T, bias).numpy()

    properties.check(HEADS[name], *example(name, 100.0), reference=head, by="torch", grads=0)


@pytest.mark.parametrize("name", ["gap", "gmp"])
def test_global_heads_take_images_of_any_size(name):
    features, kernel, bias = (jnp.asarray(a, jnp.float32) for a in example(name))
    assert HEADS[name](features, kernel, bias).shape == (2, CLASSES)
    assert HEADS[name](features[:, :1, :2], kernel, bias).shape == (2, CLASSES)
    assert HEADS[name](features[0], kernel, bias).shape == (CLASSES,)


@heads
def test_kernels_that_do_not_fit_raise(name):
    rows = 60 if name == "fc" else 5
    message = f"`kernel` must be [{rows}, out] for x of shape (2, {rows}), got (7, 6)"
    with properties.unchecked(), pytest.raises(ValueError, match=re.escape(message)):
        HEADS[name](jnp.ones(SHAPE), jnp.ones((7, CLASSES)))


@heads
def test_features_that_are_no_images_raise(name):
    message = r"`(features|x)` must .*channels.*, got shape \(2, 5\)"
    with properties.unchecked(), pytest.raises(ValueError, match=message):
        HEADS[name](jnp.ones((2, 5)), jnp.ones((5, CLASSES)))


def test_a_config_names_each_head():
    assert {
        "fc": layers.fully_connected_head,
        "gap": layers.global_average_pool_head,
        "gmp": layers.global_max_pool_head,
    } == HEADS
