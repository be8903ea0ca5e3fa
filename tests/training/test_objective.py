"""Which loss goes with which data, and what is reported of it."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from jaxml.config import LossConfig
from jaxml.errors import InputError
from jaxml.losses import LOSSES
from jaxml.metrics import BinaryMetrics, ClassificationMetrics, RegressionMetrics
from jaxml.training.objective import create_objective


@pytest.mark.parametrize(
    ("name", "num_classes", "metrics", "outputs"),
    [
        ("softmax_cross_entropy", 10, ClassificationMetrics, 10),
        ("softmax_cross_entropy", 2, ClassificationMetrics, 2),
        ("crammer_singer_hinge", 3, ClassificationMetrics, 3),
        ("sigmoid_cross_entropy", 2, BinaryMetrics, 1),
        ("hinge", 2, BinaryMetrics, 1),
        ("huber", 0, RegressionMetrics, 1),
    ],
)
def test_a_loss_brings_its_metrics_and_its_outputs(name, num_classes, metrics, outputs):
    objective = create_objective(LossConfig(name=name), num_classes)
    assert objective.metrics is metrics
    assert objective.num_outputs == outputs


REAL = {"squared_error", "absolute_error", "huber"}
ONE_LOGIT = {"sigmoid_cross_entropy", "sigmoid_focal", "hinge", "squared_hinge"}
SUITING = {0: REAL, 2: set(LOSSES) - REAL, 7: set(LOSSES) - REAL - ONE_LOGIT}


@pytest.mark.slow
@pytest.mark.parametrize("num_classes", SUITING)
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_runs_on_the_data_that_it_suits_and_refuses_the_other(name, num_classes):
    if name not in SUITING[num_classes]:
        kind = f"{num_classes} classes" if num_classes else "real targets"
        message = f"config.loss.name must be a loss for {kind}, one of .*, got {name!r}$"
        with pytest.raises(InputError, match=message):
            create_objective(LossConfig(name=name), num_classes)
        return
    objective = create_objective(LossConfig(name=name), num_classes)
    outputs = objective.outputs(jnp.ones((4, objective.num_outputs)))
    targets = jnp.ones(4, jnp.int32 if num_classes else jnp.float32)
    losses = objective.loss(outputs, targets)
    assert losses.shape == (4,)
    metrics = objective.compute(objective.metrics.from_batch(losses, outputs, targets))
    assert metrics["count"] == 4
    assert metrics["loss"] == pytest.approx(float(losses[0]))


def test_penalties_are_over_kernels_only():
    params = {"head": {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([9.0])}}
    objective = create_objective(LossConfig(l1=0.5, l2=0.25), num_classes=3)
    assert float(objective.penalty(params)) == 0.5 * 3 + 0.25 * 5
    assert float(create_objective(LossConfig(), num_classes=3).penalty(params)) == 0.0


def test_label_smoothing_is_for_the_softmax():
    logits, labels = jnp.array([[2.0, 0.0]]), jnp.array([0])
    smooth = create_objective(LossConfig(label_smoothing=0.2), num_classes=2)
    log_shares = np.log(np.array([np.exp(2), 1]) / (np.exp(2) + 1))
    expected = -(0.9 * log_shares[0] + 0.1 * log_shares[1])
    assert float(smooth.loss(logits, labels)[0]) == pytest.approx(expected, rel=1e-6)
    message = "config.loss.label_smoothing must be 0 unless .*, got 0.2 with hinge$"
    with pytest.raises(InputError, match=message):
        create_objective(LossConfig(name="hinge", label_smoothing=0.2), num_classes=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["one_vs_rest", "crammer_singer", "weston_watkins"])
def test_the_hinges_of_several_classes_may_be_squared(name):
    logits, labels = jnp.array([[2.0, 1.5, -3.0]]), jnp.array([0])
    hinge = create_objective(LossConfig(name=f"{name}_hinge"), num_classes=3)
    squared = create_objective(LossConfig(name=f"{name}_hinge", squared=True), num_classes=3)
    # One other class is within the margin: by 2.5 where zero bounds it, else by 0.5.
    expected = 2.5 if name == "one_vs_rest" else 0.5
    assert float(hinge.loss(logits, labels)[0]) == expected
    assert float(squared.loss(logits, labels)[0]) == expected**2


def test_other_losses_may_not_be_squared():
    message = "config.loss.squared must be false unless .* one_vs_rest_hinge, .*, got true"
    with pytest.raises(InputError, match=message):
        create_objective(LossConfig(name="hinge", squared=True), num_classes=2)


def test_an_unknown_loss_is_answered_with_the_nearest():
    with pytest.raises(
        InputError, match=r"config.loss.name must be .*, got 'hing'; did you mean 'hinge'\?"
    ):
        create_objective(LossConfig(name="hing"), num_classes=2)


def test_class_weights_multiply_the_loss_of_their_class():
    logits, labels = jnp.array([[2.0, 0.0, 1.0], [0.0, 1.0, 3.0]]), jnp.array([0, 2])
    plain = create_objective(LossConfig(), num_classes=3).loss(logits, labels)
    config = LossConfig(class_weights=(2.0, 1.0, 0.5))
    weighted = create_objective(config, num_classes=3).loss(logits, labels)
    np.testing.assert_allclose(weighted, np.array([2, 0.5]) * plain, rtol=1e-6)


def test_balanced_classes_have_the_weights_of_scikit_learn():
    labels = np.repeat([0, 1, 2], [50, 10, 3])
    weights = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    logits, classes = jnp.zeros((3, 3)), jnp.arange(3)
    for given in ((), (1.0, 3.0, 2.0)):
        config = LossConfig(balance_classes=True, class_weights=given)
        losses = create_objective(config, 3, labels).loss(logits, classes)
        expected = weights * (given or 1) * np.log(3)
        np.testing.assert_allclose(losses, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"class_weights": (1.0, 2.0)}, "class_weights must have 3 weights, one .*, got 2"),
        (
            {"class_weights": (1.0, 1.0, 2.0), "name": "crammer_singer_hinge"},
            r"class_weights must be \(\) unless .* with crammer_singer_hinge",
        ),
        (
            {"balance_classes": True, "name": "crammer_singer_hinge"},
            "balance_classes must be false unless .*, got true with crammer_singer_hinge",
        ),
        ({"balance_classes": True}, "balance_classes must be false if .* examples of class 1"),
    ],
)
def test_weights_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(InputError, match=f"config.loss.{message}"):
        create_objective(LossConfig(**settings), 3, np.array([0, 2, 2]))
