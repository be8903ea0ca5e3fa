"""The peer of the benchmark: the same ResNet as a Flax user writes it, with no tricks."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxml.types import Batch, PyTree


class ResNet(nn.Module):
    """6n+2 layers with 1x1 projections."""

    blocks_per_stage: int
    stage_features: Sequence[int]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Images in [0, 1] to 10 logits."""
        conv = functools.partial(nn.Conv, use_bias=False, padding=1)
        norm = functools.partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        x = nn.relu(norm()(conv(self.stage_features[0], (3, 3))(x)))
        for stage, features in enumerate(self.stage_features):
            for block in range(self.blocks_per_stage):
                strides = 2 if stage and not block else 1
                y = nn.relu(norm()(conv(features, (3, 3), strides=strides)(x)))
                y = norm()(conv(features, (3, 3))(y))
                if x.shape != y.shape:
                    x = norm()(conv(features, (1, 1), strides=strides, padding=0)(x))
                x = nn.relu(x + y)
        return nn.Dense(10)(x.mean(axis=(1, 2)))


def step(method: Any, state: Any, batch: Batch) -> Any:
    """One training step."""
    model, optimizer = method.model, method.optimizer

    def mean_loss(params: PyTree) -> Any:
        variables = {"params": params, "batch_stats": state.batch_stats}
        inputs = batch.inputs.astype(jnp.float32) / 255
        logits, updated = model.apply(variables, inputs, train=True, mutable=["batch_stats"])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch.targets)
        return losses.mean(), updated["batch_stats"]

    (loss, batch_stats), grads = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return state.replace(params=params, batch_stats=batch_stats, opt_state=opt_state), loss
