"""The linear estimators on raw data: finite coefficients, and gaps that hold in float64."""

import logging
import warnings
from typing import Any

import jax
import numpy as np
import pytest
import sklearn.svm
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.exceptions import ConvergenceWarning

from jaxml.svm import LinearSVC, LinearSVR

CLASSES = ("squared_hinge", "hinge")
VALUES = ("squared_epsilon_insensitive", "epsilon_insensitive")


def lost(model, x, y):
    """How far each output is beyond its margin or tube, in the dtype of x."""
    values = x @ np.atleast_2d(model.coef_).T + model.intercept_
    if isinstance(model, LinearSVC):
        classes = model.classes_ if len(model.classes_) > 2 else model.classes_[1:]
        return np.maximum(0, 1 - np.where(y[:, None] == classes, 1, -1) * values)
    return np.maximum(0, np.abs(y[:, None] - values) - model.epsilon)


def primal(model, x, y, weight: Any = 1.0):
    """The objective of a fitted model, summed over its problems, in float64 at least."""
    excess = lost(model, x.astype(np.promote_types(x.dtype, np.float64)), y)
    if model.loss.startswith("squared"):
        excess = excess**2
    scaling = model.intercept_scaling
    own = 0 if scaling is None else np.square(model.intercept_ / scaling).sum()
    total = (np.broadcast_to(weight, len(y))[:, None] * excess).sum()
    return (np.square(model.coef_).sum() + own) / 2 + model.C * total


def rounding(model, x, y, weight):
    """How much the objective may change where each output is rounded to float64."""
    excess = lost(model, x, y)
    size = np.abs(x) @ np.abs(np.atleast_2d(model.coef_)).T + np.abs(model.intercept_)
    error = x.shape[1] * np.finfo(np.float64).eps * size
    change = (excess + error) ** 2 - excess**2 if model.loss.startswith("squared") else error
    return model.C * float((weight[:, None] * change).sum())


def distant():
    x = 1e5 + np.random.default_rng(0).normal(size=(200, 3))
    return x, (x[:, 0] > 1e5).astype(int)


@pytest.mark.slow
@pytest.mark.parametrize("loss", CLASSES)
@pytest.mark.parametrize(
    ("data", "C", "accuracy"),
    [
        (lambda: load_breast_cancer(return_X_y=True), 1e3, 0.97),
        (lambda: load_breast_cancer(return_X_y=True), 1e6, 0.97),
        (lambda: load_wine(return_X_y=True), 1e6, 0.99),
        (distant, 1.0, 0.8),
    ],
    ids=["tumours 1e3", "tumours 1e6", "wine", "distant"],
)
def test_raw_features_are_classified(data, C, accuracy, loss):
    x, y = data()
    model = LinearSVC(loss=loss, C=C).fit(x, y)
    assert model.converged_
    assert model.score(x, y) >= accuracy
    np.testing.assert_allclose(model.objective_, primal(model, x, y), rtol=1e-6)


def test_raw_features_have_the_optimum_of_liblinear():
    x, y = load_breast_cancer(return_X_y=True)
    model = LinearSVC(C=1e3).fit(x, y)
    exact: Any = {"tol": 1e-12, "max_iter": 10**5, "dual": False}
    theirs: Any = sklearn.svm.LinearSVC(C=1e3, **exact).fit(x, y)
    theirs.loss, theirs.intercept_scaling = "squared_hinge", 1.0
    model_of_theirs: Any = LinearSVC(C=1e3)
    model_of_theirs.classes_ = theirs.classes_
    model_of_theirs.coef_, model_of_theirs.intercept_ = theirs.coef_, theirs.intercept_
    assert primal(model, x, y) <= primal(model_of_theirs, x, y) * (1 + 1e-4)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("loss", VALUES)
def test_distant_features_are_regressed(loss, intercept):
    x = 3e4 + np.random.default_rng(0).normal(size=(200, 3))
    y = x @ [1.0, 2.0, 3.0]
    model = LinearSVR(loss=loss, fit_intercept=intercept).fit(x, y)
    assert model.converged_
    assert model.score(x, y) > 0.999
    np.testing.assert_allclose(model.objective_, primal(model, x, y), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("penalty", ["l2", "l1"])
def test_balanced_weights_count_repeated_samples(penalty):
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    times = np.random.default_rng(0).integers(0, 4, len(y))
    settings: Any = {"class_weight": "balanced", "tol": 1e-9 if penalty == "l2" else 1e-6}
    weighted = LinearSVC(penalty, **settings).fit(x, y, times)
    repeated = LinearSVC(penalty, **settings).fit(np.repeat(x, times, 0), np.repeat(y, times))
    np.testing.assert_allclose(weighted.objective_, repeated.objective_, rtol=1e-5)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=2e-3)


def test_samples_of_weight_zero_do_not_count():
    x, y = distant()
    with pytest.raises(ValueError, match=r"`sample_weight` must be > 0 .* got 0 for .* class 1"):
        LinearSVC().fit(x, y, 1 - y)
    with pytest.raises(ValueError, match=r"`sample_weight` must be > 0 for at least one sample"):
        LinearSVR().fit(x, y, np.zeros(len(y)))


@pytest.mark.slow
@pytest.mark.parametrize("model", [LinearSVC(), LinearSVC(loss="hinge"), LinearSVR()], ids=str)
def test_nothing_is_compiled_on_a_cpu(model, caplog):
    x, y = load_wine(return_X_y=True)
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        model.fit(x, y)
    assert not [line for line in caplog.messages if "ompil" in line]


def case(seed):
    """Raw data, weights and an estimator, of scales and offsets that differ widely."""
    random = np.random.default_rng(seed)
    count, features = random.integers(4, 60), random.integers(1, 20)
    x = random.normal(size=(count, features)) * 10 ** random.uniform(-3, 6, features)
    x += np.where(random.random(features) < 0.5, 10 ** random.uniform(0, 6, features), 0)
    x[:, 0] = x[:, -1] if random.random() < 0.4 else x[:, 0]
    x[:, random.integers(features)] = 3.3 if random.random() < 0.3 else x[:, 0]
    x = x.astype(random.choice(["float32", "float64"]))
    weight = random.integers(0, 3, count) * 1.0
    weight[:2] = 1
    settings: Any = {"C": 10 ** random.uniform(-4, 6), "intercept_scaling": 1.0}
    if random.random() < 0.5:
        y = np.r_[0, 1, random.integers(0, 2, count - 2)]
        return x, y, weight, LinearSVC(loss=random.choice(CLASSES), **settings)
    y = 1e3 * random.normal(size=count)
    return x, y, weight, LinearSVR(loss=random.choice(VALUES), epsilon=0.1, **settings)


def check(seed):
    """Fits a case; returns whether it warned that it did not converge.

    The objective may differ by the rounding of the outputs, which depends on the processor and is
    up to 40 % of the objective where large offsets cancel.
    """
    x, y, weight, model = case(seed)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        model.fit(x, y, weight)
    told = any(issubclass(each.category, ConvergenceWarning) for each in found)
    assert len(found) == told, [str(each.message) for each in found]
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.intercept_).all()
    assert model.converged_ == (not told) == (model.relative_gap_ <= model.tol)
    x = x.astype(np.longdouble)
    expected = float(primal(model, x, y, weight))
    allowed = 1e-6 * expected + rounding(model, x, y, weight)
    assert abs(model.objective_ - expected) <= allowed
    gap = np.sum(model.duality_gap_) / model.objective_
    np.testing.assert_allclose(model.relative_gap_, gap, rtol=1e-5, atol=1e-9)
    return told


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_coefficients_are_finite_and_gaps_are_true(block):
    for seed in range(12 * block, 12 * block + 12):
        check(seed)


@pytest.mark.large
@pytest.mark.parametrize("block", range(20))
def test_many_problems(block, record_property):
    wrong, warned = {}, 0
    for seed in range(1000 + 100 * block, 1100 + 100 * block):
        try:
            warned += check(seed)
        except AssertionError as error:
            wrong[seed] = str(error)
    record_property("warned", warned)
    assert not wrong
