"""A step that is not finite makes no update and leaves the later steps as they are."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml.config import LossConfig, ModelConfig, OptimConfig
from jaxml.errors import DivergedError
from jaxml.models import MODELS
from jaxml.normalize import UnitInterval
from jaxml.optim import create_optimizer, ema_averaging
from jaxml.training import compilation
from jaxml.training.checkpoint import Checkpoints
from jaxml.training.loop import train_and_evaluate
from jaxml.training.objective import create_objective
from jaxml.training.skipping import Skips, all_finite, describe, skipped_steps
from jaxml.training.steps import Learner, TrainState, train_step
from jaxml.types import Batch
from tests import tiny
from tests.training import training_calls

pytestmark = pytest.mark.slow

OBJECTIVE = create_objective(LossConfig(), num_classes=3)
KEY = jax.random.key(1)


def _batches(count, shape, bad):
    """Returns batches of 5 examples; those of the steps in `bad` have an infinite input."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(count, 5, *shape)).astype(np.float32)
    for step in bad:
        inputs[step].flat[2] = np.inf
    labels = generator.integers(0, 3, (count, 5)).astype(np.int32)
    return [Batch(jnp.asarray(x), jnp.asarray(y)) for x, y in zip(inputs, labels, strict=True)]


def _state(learner, shape):
    create = partial(
        TrainState.create, learner=learner, normalizer=UnitInterval(), input_shape=shape
    )
    return jax.jit(create)(jax.random.key(0))


def _kept(state):
    """Everything that a skipped step must not change."""
    return state.replace(step=None, skips=None)


def test_a_skipped_step_is_no_step_of_gradient_descent():
    learner = Learner(MODELS["linear"](num_classes=3), OBJECTIVE, optax.sgd(0.1, 0.9), max_skips=3)
    state, batches = _state(learner, (4,)), _batches(5, (4,), bad=(1, 2))
    expected = {k: np.asarray(v, np.float64) for k, v in state.params["head"].items()}
    velocity = {k: np.zeros_like(v) for k, v in expected.items()}
    step = jax.jit(partial(train_step, KEY, learner))
    for i, (x, labels) in enumerate(batches):
        state, metrics = step(state, Batch(x, labels))
        assert int(metrics.count) == (0 if i in (1, 2) else 5)
        if i in (1, 2):
            continue
        logits = np.asarray(x, np.float64) @ expected["kernel"] + expected["bias"]
        slopes = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(3)[labels]
        gradient = {"kernel": np.asarray(x, np.float64).T @ slopes / 5, "bias": slopes.mean(0)}
        velocity = {k: 0.9 * velocity[k] + gradient[k] for k in expected}
        expected = {k: expected[k] - 0.1 * velocity[k] for k in expected}
    for name, value in expected.items():
        np.testing.assert_allclose(state.params["head"][name], value, rtol=1e-5, atol=1e-6)
    assert int(state.step) == 5
    assert tuple(map(int, state.skips)) == (2, 0)
    assert int(state.metrics.count) == 15


def test_a_skipped_step_keeps_statistics_averages_and_the_optimizer():
    model = MODELS["resnet_tiny"](num_classes=3)
    optimizer = create_optimizer(
        OptimConfig(name="adam", accumulate_steps=2), optax.constant_schedule(0.01)
    )
    learner = Learner(model, OBJECTIVE, optimizer, ema_averaging(0.9), max_skips=3)
    step = jax.jit(partial(train_step, KEY, learner))
    first, second = _batches(2, (8, 8, 1), bad=(1,))
    before, _ = step(_state(learner, (8, 8, 1)), first)
    after, _ = step(before, second)
    assert (int(before.step), int(after.step)) == (1, 2)
    jax.tree.map(np.testing.assert_array_equal, _kept(after), _kept(before))
    moved, _ = step(after, first)
    plain = learner._replace(max_skips=None)
    expected, _ = jax.jit(partial(train_step, KEY, plain))(after.replace(skips=None), first)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        _kept(moved),
        _kept(expected),
    )


@pytest.mark.parametrize("where", ["gradient", "optimizer"])
def test_a_step_with_a_finite_loss_is_skipped_too(where):
    """An overflow of the gradient alone, or of the state of the optimizer alone."""
    scale = jnp.inf if where == "gradient" else 1e30
    adam = create_optimizer(OptimConfig(name="adam"), optax.constant_schedule(0.01))
    scaled = optax.stateless(lambda grads, _: optax.tree.scale(scale, grads))
    optimizer = optax.chain(scaled, adam)
    learner = Learner(MODELS["linear"](num_classes=3), OBJECTIVE, optimizer, max_skips=3)
    state, (batch,) = _state(learner, (4,)), _batches(1, (4,), bad=())
    after, _ = jax.jit(partial(train_step, KEY, learner))(state, batch)
    assert int(after.skips.total) == 1
    jax.tree.map(np.testing.assert_array_equal, _kept(after), _kept(state))


def test_more_steps_than_the_limit_are_not_skipped():
    learner = Learner(MODELS["linear"](num_classes=3), OBJECTIVE, optax.sgd(0.1), max_skips=2)
    state, step = _state(learner, (4,)), jax.jit(partial(train_step, KEY, learner))
    finite, losses = [], []
    for batch in _batches(4, (4,), bad=(1, 2, 3)):
        state, metrics = step(state, batch)
        finite.append(bool(all_finite(state.params)))
        losses.append(float(metrics.loss))
    assert finite == [True, True, True, False]
    assert losses[1:3] == [0.0, 0.0]
    assert not np.isfinite(losses[3])


def test_nothing_is_counted_unless_steps_are_skipped():
    assert skipped_steps(None) == {}
    assert describe(None) == describe(Skips.create()) == ""
    learner = Learner(MODELS["linear"](num_classes=3), OBJECTIVE, optax.sgd(0.1))
    names = [jax.tree_util.keystr(k) for k, _ in jax.tree.leaves_with_path(_state(learner, (4,)))]
    assert not [name for name in names if "skips" in name]


def _poison(monkeypatch, steps):
    """Makes the inputs of some steps of a run infinite."""
    measured_step = compilation.measured_step

    def poisoned(key, learner, state, batch, **options):
        bad = (state.step == jnp.asarray(steps, jnp.int32)).any()
        inputs = jnp.where(bad, jnp.inf, batch.inputs.astype(jnp.float32))
        return measured_step(key, learner, state, batch._replace(inputs=inputs), **options)

    monkeypatch.setattr(compilation, "measured_step", poisoned)


CONFIG = tiny.config(
    model=ModelConfig(name="linear"),
    optim=OptimConfig(learning_rate=0.05, schedule="cosine", on_nonfinite="skip", max_skips=2),
)


def test_a_run_skips_counts_and_resumes(tmp_path, monkeypatch, capsys):
    _poison(monkeypatch, [4, 7, 8])  # the last steps of epochs 2 and 3 are measured
    result = train_and_evaluate(CONFIG, tmp_path / "whole")
    assert result["skipped_steps"] == 3
    assert np.isfinite(result["test_loss"])
    out = capsys.readouterr().out
    lines = list(map(json.loads, (tmp_path / "whole/metrics.jsonl").read_text().splitlines()))
    trained = [line for line in lines if line["split"] == "train"]
    assert [line["skipped_steps"] for line in trained] == [0, 1, 3, 3]
    assert [line["count"] for line in trained] == [478 * n for n in (3, 2, 1, 3)]
    assert np.isfinite([line["loss"] for line in trained]).all()
    assert np.isfinite([v for line in trained for v in line["layers"].values()]).all()
    assert "%  1 skipped\n" in out
    assert "%  3 skipped\n" in out
    with monkeypatch.context() as patch:

        def kill():
            raise KeyboardInterrupt

        training_calls.after(patch, 8, kill)  # between the two skipped steps
        with pytest.raises(KeyboardInterrupt):
            train_and_evaluate(CONFIG, tmp_path / "killed")
    again = train_and_evaluate(CONFIG, tmp_path / "killed")
    assert again["params_sha256"] == result["params_sha256"]
    assert again["skipped_steps"] == 3


def test_a_run_that_reaches_the_limit_stops_as_without_skipping(tmp_path, monkeypatch):
    _poison(monkeypatch, [4, 5, 6, 7])
    message = "step 7: the loss is nan; the checkpoint of step [36] is kept; a lower"
    with pytest.raises(DivergedError, match=message):
        train_and_evaluate(CONFIG, tmp_path)
    assert Checkpoints(tmp_path / "checkpoints").steps() == [3, 6]
