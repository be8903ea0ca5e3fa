"""Batch norm over groups of a batch is what replicas compute that do not communicate."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.errors import InputError
from jaxml.models import MODELS, BatchNorm
from jaxml.training import _validation
from tests import references, tiny
from tests.models.test_blocks import NORM

GENERATOR = np.random.default_rng(0)
# Groups with different means and deviations, which a norm over the whole batch would mix.
IMAGES = np.concatenate(
    [GENERATOR.normal(place, 1 + place, (2, 5, 4, 3)) for place in range(3)]
).astype(np.float32)


def apply(module, variables, x):
    function = partial(module.apply, train=True, mutable=["batch_stats", "batch_moments"])
    return jax.jit(function)(variables, x)


def test_each_group_is_normalized_alone_and_the_running_statistics_get_the_mean():
    y, updated = apply(BatchNorm(groups=3), NORM, IMAGES)
    x, wide = references.float64([IMAGES, NORM])
    moments = [references.moments(part, (0, 1, 2)) for part in np.split(x, 3)]
    params = wide["params"]
    expected = [
        references.batch_normalization(part, *found, params["bias"], params["scale"], 1e-5)
        for part, found in zip(np.split(x, 3), moments, strict=True)
    ]
    references.assert_close(y, np.concatenate(expected), 1e-6)
    mean, variance = np.mean(moments, axis=0)
    past = wide["batch_stats"]
    moved = {"mean": 0.9 * past["mean"] + 0.1 * mean, "var": 0.9 * past["var"] + 0.1 * variance}
    references.assert_trees_close(updated["batch_stats"], moved, 1e-6)
    batch = {"mean": mean, "var": variance}
    references.assert_trees_close(updated["batch_moments"], batch, 1e-6)


def test_gradients_are_those_of_replicas_of_torch():
    torch = pytest.importorskip("torch")
    cotangent = GENERATOR.normal(size=IMAGES.shape).astype(np.float32)

    def loss(params, x):
        statistics = jax.tree.map(jnp.asarray, NORM["batch_stats"])
        variables = {"params": params, "batch_stats": statistics}
        y, _ = BatchNorm(groups=3).apply(variables, x, train=True, mutable=["batch_stats"])
        return jnp.sum(y * cotangent)

    of_params, of_images = jax.jit(jax.grad(loss, argnums=(0, 1)))(NORM["params"], IMAGES)
    replica = torch.nn.BatchNorm2d(3).double()
    with torch.no_grad():
        replica.weight.copy_(torch.tensor(NORM["params"]["scale"]))
        replica.bias.copy_(torch.tensor(NORM["params"]["bias"]))
    x = torch.tensor(IMAGES.transpose(0, 3, 1, 2)).double().requires_grad_()
    y = torch.cat([replica(part) for part in x.chunk(3)])
    (y * torch.tensor(cotangent.transpose(0, 3, 1, 2))).sum().backward()
    references.assert_close(of_images, x.grad.numpy().transpose(0, 2, 3, 1), 1e-5)
    references.assert_close(of_params["scale"], replica.weight.grad.numpy(), 1e-5)
    references.assert_close(of_params["bias"], replica.bias.grad.numpy(), 1e-5)


@pytest.mark.parametrize("options", [{}, {"scan": True, "remat": True}], ids=str)
def test_a_network_computes_what_its_replicas_do(options):
    create = partial(MODELS["resnet_tiny"], num_classes=5, blocks_per_stage=3, **options)
    variables = jax.jit(partial(create().init, train=False))(jax.random.key(0), IMAGES)
    whole, updated = apply(create(batch_norm_groups=3), variables, IMAGES)
    replicas = [apply(create(), variables, part) for part in np.split(IMAGES, 3)]
    references.assert_close(whole, np.concatenate([logits for logits, _ in replicas]), 1e-5)
    statistics = [found["batch_stats"] for _, found in replicas]
    mean = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *statistics)
    references.assert_trees_close(updated["batch_stats"], mean, 1e-5)


def test_groups_of_another_size_are_an_error():
    with pytest.raises(ValueError, match="`groups` must divide the batch of 6 examples, got 4"):
        BatchNorm(groups=4).apply(NORM, IMAGES, train=True, mutable=["batch_stats"])


def test_a_setting_that_does_not_suit_is_an_error():
    config = tiny.config()
    config.model.batch_norm_groups = 3
    _validation.check_batch_norm_groups(config, 9, NORM["batch_stats"])
    with pytest.raises(InputError) as caught:
        _validation.check_batch_norm_groups(config, 8, NORM["batch_stats"])
    assert str(caught.value) == (
        "config.model.batch_norm_groups must divide 8, the number of examples of a batch, got 3"
    )
    with pytest.raises(InputError) as caught:
        _validation.check_batch_norm_groups(config, 9, {})
    assert str(caught.value) == (
        "config.model.batch_norm_groups must be unset for resnet_tiny, which has no batch norm, "
        "got 3"
    )
