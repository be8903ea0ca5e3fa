"""One step: its gradients, its statistics, its metrics."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml.models.resnet import resnet_tiny
from jaxml.normalize import PerImageStandardization
from jaxml.step import TrainState, eval_step, train_step
from jaxml.types import Batch

MODEL = resnet_tiny(num_classes=6)


@pytest.fixture(scope="module")
def batch():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
    return Batch(jnp.asarray(images), jnp.asarray(generator.integers(0, 6, 6), jnp.int32))


def _state(optimizer):
    normalizer = PerImageStandardization()
    create = partial(TrainState.create, model=MODEL, optimizer=optimizer, normalizer=normalizer)
    return jax.jit(partial(create, image_shape=(8, 8, 1)))(jax.random.key(0))


def _loss(params, state, batch):
    """The mean loss in training mode, from the logits by SciPy-like steps of its own."""
    variables = {"params": params, "batch_stats": state.batch_stats}
    x = batch.images.astype(jnp.float32)
    axes = (1, 2, 3)
    x = x / 255 - jnp.broadcast_to(x.mean(axes, keepdims=True) / 255, x.shape)
    x = x / jnp.broadcast_to(jnp.sqrt(jnp.square(x).mean(axes, keepdims=True)), x.shape)
    logits, _ = MODEL.apply(variables, x, train=True, mutable=["batch_stats"])
    chosen = jnp.take_along_axis(jax.nn.softmax(logits), batch.labels[:, None], axis=1)
    return -jnp.log(chosen).mean()


def test_the_update_is_down_the_numerical_gradient(batch):
    rate = 0.1
    optimizer = optax.sgd(rate)
    state = _state(optimizer)
    after, metrics = jax.jit(partial(train_step, MODEL, optimizer))(state, batch)
    gradient = jax.tree.map(lambda old, new: (old - new) / rate, state.params, after.params)
    direction = jax.tree.map(
        lambda leaf: jnp.asarray(np.random.default_rng(1).normal(size=leaf.shape), jnp.float32),
        state.params,
    )
    loss = jax.jit(_loss)
    step = 1e-3
    ends = [
        loss(
            jax.tree.map(lambda p, d, sign=sign: p + sign * step * d, state.params, direction),
            state,
            batch,
        )
        for sign in (1, -1)
    ]
    numerical = float(ends[0] - ends[1]) / (2 * step)
    analytical = optax.tree.vdot(gradient, direction)
    assert float(jnp.asarray(analytical)) == pytest.approx(numerical, rel=2e-2)
    assert float(metrics.loss) / 6 == pytest.approx(
        float(loss(state.params, state, batch)), rel=1e-5
    )


def test_training_moves_everything_that_it_should(batch):
    optimizer = optax.sgd(0.1, momentum=0.9)
    state = _state(optimizer)
    after, metrics = jax.jit(partial(train_step, MODEL, optimizer))(state, batch)
    assert int(after.step) == 1
    assert int(after.metrics.count) == int(metrics.count) == 6
    for tree in ("params", "batch_stats"):
        before_leaves, after_leaves = (jax.tree.leaves(getattr(s, tree)) for s in (state, after))
        assert all((a != b).any() for a, b in zip(before_leaves, after_leaves, strict=True))


def test_evaluation_does_not_see_what_is_masked(batch):
    state = _state(optax.sgd(0.1))
    mask = jnp.array([True, False, True, True, False, True])
    step = jax.jit(partial(eval_step, MODEL))
    metrics = step(state, batch, mask)
    garbage = batch._replace(images=jnp.where(mask[:, None, None, None], batch.images, 255))
    assert int(metrics.count) == 4
    for a, b in zip(
        jax.tree.leaves(metrics), jax.tree.leaves(step(state, garbage, mask)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_evaluation_treats_each_image_alone(batch):
    state = _state(optax.sgd(0.1))
    step = jax.jit(partial(eval_step, MODEL))
    whole = step(state, batch, jnp.ones(6, bool))
    single = [
        step(state, Batch(*(a[i : i + 1] for a in batch)), jnp.ones(1, bool)) for i in range(6)
    ]
    assert float(whole.loss) == pytest.approx(sum(float(m.loss) for m in single), rel=1e-5)
    assert int(whole.correct) == sum(int(m.correct) for m in single)
