"""OneClassSVM against scikit-learn's."""

import jax
import numpy as np
import pytest
from sklearn import svm
from sklearn.datasets import load_iris

from jaxml.errors import InputError
from jaxml.svm import OneClassSVM
from tests import properties

X, _ = load_iris(return_X_y=True)


@pytest.mark.parametrize("settings", [{"nu": 0.1}, {"nu": 0.5, "kernel": "linear"}])
def test_the_optimum_is_that_of_libsvm(settings):
    weights = np.random.default_rng(0).uniform(0.5, 2.0, size=len(X))
    wanted = svm.OneClassSVM(**settings, tol=1e-8).fit(X, sample_weight=weights)
    with jax.enable_x64(True):
        found = OneClassSVM(**settings, tol=1e-8).fit(X, sample_weight=weights)
        decision, scores = found.decision_function(X), found.score_samples(X)
    expected = wanted.decision_function(X)
    properties.agree(
        OneClassSVM.decision_function, decision, expected, by="scikit-learn", rtol=1e-5
    )
    np.testing.assert_allclose(scores, wanted.score_samples(X), rtol=1e-5)
    clear = np.abs(expected) > 1e-6 * np.abs(expected).max()
    np.testing.assert_array_equal(found.predict(X)[clear], wanted.predict(X)[clear])
    np.testing.assert_allclose(found.offset_, wanted.offset_, rtol=1e-5)
    np.testing.assert_allclose(found.dual_coef_.sum(), settings["nu"] * weights.sum())
    assert found.relative_gap_ < 1e-6


def test_nu_bounds_the_fractions():
    found = OneClassSVM(nu=0.2).fit(X)
    assert (found.decision_function(X) < -1e-3).mean() <= 0.2 <= len(found.support_) / len(X)


def test_all_samples_at_their_bounds():
    found = OneClassSVM(nu=1.0).fit(X)
    assert len(found.support_) == len(X)
    assert np.isfinite(found.offset_).all()


def test_warm_start_resumes():
    model = OneClassSVM(warm_start=True).fit(X)
    assert model.fit(X).n_iter_ == 0


def test_infeasible_variables_are_not_reused():
    weights = np.random.default_rng(0).uniform(0.2, 2.0, size=len(X))
    model = OneClassSVM(nu=0.3, warm_start=True, tol=1e-5).fit(X, sample_weight=weights)
    found = model.fit(X, sample_weight=weights[::-1])
    np.testing.assert_allclose(found.dual_coef_.sum(), 0.3 * weights.sum(), rtol=1e-5)
    fresh = OneClassSVM(nu=0.3, tol=1e-5).fit(X, sample_weight=weights[::-1])
    np.testing.assert_allclose(found.decision_function(X), fresh.decision_function(X), atol=1e-3)


def test_samples_at_the_threshold_are_inliers():
    model = OneClassSVM(kernel="linear").fit(X)
    model.intercept_ = np.zeros(1)
    model.intercept_ = -model.decision_function(X[:1])
    np.testing.assert_array_equal(model.predict(X[:1]), [1])


def test_invalid_nu():
    with pytest.raises(InputError, match=r"`nu` must be a finite number > 0 and <= 1, got 0.0"):
        OneClassSVM(nu=0.0).fit(X)
