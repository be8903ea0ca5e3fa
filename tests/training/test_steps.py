"""One step: its gradients, its statistics, its metrics."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special
from flax import linen as nn

from jaxml.config import LossConfig, OptimConfig
from jaxml.models import MODELS
from jaxml.normalize import PerImageStandardization
from jaxml.optim import create_optimizer, ema_averaging
from jaxml.training.objective import create_objective
from jaxml.training.steps import Learner, TrainState, batch_moments, eval_step, train_step
from jaxml.types import Batch
from tests import references

pytestmark = pytest.mark.slow

MODEL = MODELS["resnet_tiny"](num_classes=6)
KEY = jax.random.key(7)
OBJECTIVE = create_objective(LossConfig(), num_classes=6)


@pytest.fixture(scope="module")
def batch():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
    return Batch(jnp.asarray(images), jnp.asarray(generator.integers(0, 6, 6), jnp.int32))


def _learner(optimizer, **settings):
    return Learner(MODEL, OBJECTIVE, optimizer, **settings)


def _state(learner):
    create = partial(
        TrainState.create,
        learner=learner,
        normalizer=PerImageStandardization(),
        input_shape=(8, 8, 1),
    )
    return jax.jit(create)(jax.random.key(0))


def _loss(params, state, batch):
    """The mean loss in training mode, from the logits by SciPy-like steps of its own."""
    variables = {"params": params, "batch_stats": state.batch_stats}
    x = batch.inputs.astype(jnp.float32)
    axes = (1, 2, 3)
    x = x / 255 - jnp.broadcast_to(x.mean(axes, keepdims=True) / 255, x.shape)
    x = x / jnp.broadcast_to(jnp.sqrt(jnp.square(x).mean(axes, keepdims=True)), x.shape)
    logits, _ = MODEL.apply(variables, x, train=True, mutable=["batch_stats"])
    chosen = jnp.take_along_axis(jax.nn.softmax(logits), batch.targets[:, None], axis=1)
    return -jnp.log(chosen).mean()


def test_the_update_is_down_the_numerical_gradient(batch):
    rate = 0.1
    learner = _learner(optax.sgd(rate))
    state = _state(learner)
    after, metrics = jax.jit(partial(train_step, KEY, learner))(state, batch)
    gradient = jax.tree.map(lambda old, new: (old - new) / rate, state.params, after.params)
    # Along another gradient than that of the loss, the loss would fall less than its length says.
    length = optax.tree.norm(gradient)
    direction = jax.tree.map(lambda leaf: leaf / length, gradient)
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
    learner = _learner(optax.sgd(0.1, momentum=0.9))
    state = _state(learner)
    after, metrics = jax.jit(partial(train_step, KEY, learner))(state, batch)
    assert int(after.step) == 1
    assert int(after.metrics.count) == int(metrics.count) == 6
    for tree in ("params", "batch_stats"):
        before_leaves, after_leaves = (jax.tree.leaves(getattr(s, tree)) for s in (state, after))
        assert all((a != b).any() for a, b in zip(before_leaves, after_leaves, strict=True))


def test_evaluation_does_not_see_what_is_masked(batch):
    learner = _learner(optax.sgd(0.1))
    state = _state(learner)
    mask = jnp.array([True, False, True, True, False, True])
    step = jax.jit(partial(eval_step, learner))
    metrics = step(state, batch, mask)
    garbage = batch._replace(inputs=jnp.where(mask[:, None, None, None], batch.inputs, 255))
    assert int(metrics.count) == 4
    for a, b in zip(
        jax.tree.leaves(metrics), jax.tree.leaves(step(state, garbage, mask)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_evaluation_treats_each_image_alone(batch):
    learner = _learner(optax.sgd(0.1))
    state = _state(learner)
    step = jax.jit(partial(eval_step, learner))
    whole = step(state, batch, jnp.ones(6, bool))
    single = [
        step(state, Batch(*(a[i : i + 1] for a in batch)), jnp.ones(1, bool)) for i in range(6)
    ]
    assert float(whole.loss) == pytest.approx(sum(float(m.loss) for m in single), rel=1e-5)
    assert int(whole.correct) == sum(int(m.correct) for m in single)


def test_evaluation_averages_the_logits_of_mirror_images(batch):
    learner = _learner(optax.sgd(0.1), eval_flip=True)
    state = _state(learner)
    metrics = jax.jit(partial(eval_step, learner))(state, batch, jnp.ones(6, bool))
    images = references.per_image_standardization(np.asarray(batch.inputs, np.float64))
    variables = references.float64(jax.device_get((state.params, state.batch_stats)))
    network = references.Network(*variables, train=False)
    logits = (network(images) + network(images[:, :, ::-1])) / 2
    losses = references.softmax_cross_entropy(logits, np.asarray(batch.targets))
    assert float(metrics.loss) == pytest.approx(losses.sum(), rel=1e-5)


def test_the_average_is_what_is_evaluated(batch):
    learner = _learner(optax.sgd(0.1), averaging=ema_averaging(decay=0.5))
    step, evaluate = jax.jit(partial(train_step, KEY, learner)), partial(eval_step, learner)
    before = _state(learner)
    first, _ = step(before, batch)
    second, _ = step(first, batch)
    weights = [1 / 3, 2 / 3]  # 0.5 * 0.5 and 0.5, over 1 - 0.5^2
    mean = jax.tree.map(
        lambda a, b: a * weights[0] + b * weights[1],
        {"params": first.params, "batch_stats": first.batch_stats},
        {"params": second.params, "batch_stats": second.batch_stats},
    )
    plain = _learner(optax.sgd(0.1))
    expected = jax.jit(partial(eval_step, plain))(second.replace(**mean), batch, jnp.ones(6, bool))
    metrics = jax.jit(evaluate)(second, batch, jnp.ones(6, bool))
    assert float(metrics.loss) == pytest.approx(float(expected.loss), rel=1e-5)
    unaveraged = jax.jit(partial(eval_step, plain))(second, batch, jnp.ones(6, bool))
    assert float(metrics.loss) != pytest.approx(float(unaveraged.loss), rel=1e-3)


def test_the_statistics_of_a_batch_are_what_training_moves_towards(batch):
    learner = _learner(optax.sgd(0.0))
    state = _state(learner)
    after, _ = jax.jit(partial(train_step, KEY, learner))(state, batch)
    moments = jax.jit(partial(batch_moments, KEY, learner))(state, batch)
    expected = jax.tree.map(lambda old, new: old * 0.9 + new * 0.1, state.batch_stats, moments)
    for a, b in zip(jax.tree.leaves(after.batch_stats), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_max_norm_holds_after_the_step(batch):
    learner = _learner(optax.sgd(1.0), max_norm=0.5)
    after, _ = jax.jit(partial(train_step, KEY, learner))(_state(learner), batch)
    kernel = np.asarray(after.params["head"]["kernel"])
    norms = np.linalg.norm(kernel, axis=0)
    assert norms.max() == pytest.approx(0.5, rel=1e-5)


def test_sharpness_aware_steps_follow_the_gradient_of_the_neighbour(batch):
    config = OptimConfig(momentum=0.0, weight_decay=0.0, sharpness_radius=0.05)
    plain, learner = _learner(optax.sgd(1.0)), _learner(create_optimizer(config, lambda _: 1.0))
    state = _state(plain)

    def gradient(state, learner):
        after, _ = jax.jit(partial(train_step, KEY, learner))(state, batch)
        return jax.tree.map(lambda old, new: old - new, state.params, after.params)

    here = gradient(state, plain)
    norm = float(optax.tree.norm(here))
    there = jax.tree.map(lambda w, g: w + 0.05 / norm * g, state.params, here)
    expected = gradient(state.replace(params=there), plain)
    for a, b in zip(
        jax.tree.leaves(gradient(_state(learner), learner)), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


class _TwoHeads(nn.Module):
    """A linear model with an auxiliary head beside it."""

    @nn.compact
    def __call__(self, x, *, train):
        x = x.reshape(len(x), -1)
        main, beside = nn.Dense(6, name="main")(x), nn.Dense(6, name="beside")(x)
        if train and not self.is_initializing():
            self.sow("auxiliary", "logits", beside, lambda _, new: new, lambda: None)
        return main


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_auxiliary_heads_add_their_weighted_loss(batch, weight):
    objective = create_objective(LossConfig(auxiliary_weight=weight), num_classes=6)
    learner = Learner(_TwoHeads(), objective, optax.sgd(1.0))
    state = _state(learner)
    after, metrics = jax.jit(partial(train_step, KEY, learner))(state, batch)
    x = np.asarray(state.normalizer.apply(batch.inputs), np.float64).reshape(6, -1)
    for head, factor in (("main", 1.0), ("beside", weight)):
        before, moved = (np.asarray(s.params[head]["kernel"], np.float64) for s in (state, after))
        probabilities = scipy.special.softmax(x @ before, axis=1)
        residual = probabilities - np.eye(6)[np.asarray(batch.targets)]
        np.testing.assert_allclose(before - moved, factor * x.T @ residual / 6, atol=2e-6)
        if head == "main":  # the loss that is reported is that of the network's own outputs
            chosen = probabilities[np.arange(6), np.asarray(batch.targets)]
            assert float(metrics.loss) == pytest.approx(-np.log(chosen).sum(), rel=1e-5)


def test_the_key_decides_what_is_dropped(batch):
    learner = Learner(MODEL.clone(keep_prob=0.5), OBJECTIVE, optax.sgd(0.1))
    state = _state(learner)
    step = jax.jit(train_step, static_argnums=1)
    first, again, other = (
        np.asarray(step(jax.random.key(seed), learner, state, batch)[0].params["head"]["kernel"])
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
