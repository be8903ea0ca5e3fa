"""Tests of the patterns of frozen parameters and of training with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.config import LossConfig, OptimConfig
from jaxml.errors import InputError
from jaxml.models import MODELS
from jaxml.normalize import UnitInterval
from jaxml.optim import check_pattern, create_optimizer, is_frozen, keep_frozen
from jaxml.training.objective import create_objective
from jaxml.training.steps import Learner, TrainState, train_step
from jaxml.types import Batch

PATTERN = "stem|stage1/block1/norm"


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        (None, "stem_conv/kernel", False),
        ("stem", "stem_conv/kernel", True),
        ("conv", "stem_conv/kernel", False),  # matches at the start only
        (".*norm", "stage1/block1/norm1/scale", True),
        ("stage[12]/", "stage2/block1/conv1/kernel", True),
        ("stage[12]/", "stage3/block1/conv1/kernel", False),
    ],
)
def test_a_pattern_is_matched_at_the_beginning_of_a_path(pattern, path, expected):
    assert is_frozen(pattern, path) is expected


def test_frozen_leaves_keep_their_old_values():
    old, new = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": 4, "c": 5}, "d": 6}
    assert keep_frozen("a/b|d", old, new) == {"a": {"b": 1, "c": 5}, "d": 3}
    assert keep_frozen(None, old, new) is new


def test_an_invalid_regular_expression_is_an_error():
    check_pattern("stage[12]/", "config.weights.freeze")
    for pattern in ("[", "[[a]", "a{99999999999}", "(" * 5000):
        with pytest.raises(
            InputError, match=r"^config.weights.freeze must be a regular expression, got '"
        ):
            check_pattern(pattern, "config.weights.freeze")


def _steps(frozen, batch):
    """Returns the states before and after two steps that change all unfrozen values."""
    learner = Learner(
        MODELS["resnet_tiny"](num_classes=6, frozen=frozen),
        create_objective(LossConfig(l2=0.1), num_classes=6),
        create_optimizer(OptimConfig(weight_decay=0.1), lambda _: 0.1, frozen=frozen),
        max_norm=0.01,
        frozen=frozen,
    )
    before = TrainState.create(jax.random.key(0), learner, UnitInterval(), (8, 8, 1))
    after = before
    step = jax.jit(lambda state: train_step(jax.random.key(1), learner, state, batch)[0])
    for _ in range(2):
        after = step(after)
    return before, after


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [None, PATTERN])
def test_a_step_changes_all_but_the_frozen_parameters_and_their_statistics(frozen):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
    batch = Batch(jnp.asarray(images), jnp.arange(6, dtype=jnp.int32))
    before, after = _steps(frozen, batch)
    for kind in ("params", "batch_stats"):
        leaves = jax.tree_util.tree_leaves_with_path(getattr(before, kind))
        moved = jax.tree.leaves(getattr(after, kind))
        for (path, old), new in zip(leaves, moved, strict=True):
            name = "/".join(key.key for key in path)
            assert bool((old == new).all()) == is_frozen(frozen, name), name


@pytest.mark.slow
def test_frozen_norms_normalise_by_their_running_statistics():
    images = 3 * jax.random.normal(jax.random.key(2), (4, 8, 8, 1)) + 1
    model = MODELS["resnet_tiny"](num_classes=6)
    variables = model.init(jax.random.key(0), images, train=False)
    frozen = model.clone(frozen=".*")
    logits, _ = frozen.apply(variables, images, train=True, mutable=["batch_stats"])
    np.testing.assert_array_equal(logits, model.apply(variables, images, train=False))
    trained, _ = model.apply(variables, images, train=True, mutable=["batch_stats"])
    assert not np.allclose(logits, trained, rtol=0.1)
