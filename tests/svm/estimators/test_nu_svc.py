"""NuSVC against scikit-learn's."""

import jax
import numpy as np
import pytest
from sklearn import svm
from sklearn.datasets import load_iris

from jaxml.errors import InputError
from jaxml.svm import NuSVC
from tests import properties

X, Y = load_iris(return_X_y=True)


@pytest.mark.parametrize("count", [100, 150])
@pytest.mark.parametrize("settings", [{"nu": 0.3}, {"nu": 0.5, "kernel": "linear"}])
def test_the_optimum_is_that_of_libsvm(settings, count):
    x, y = X[:count], Y[:count]
    weights = np.where(y == 1, 1.0, 0.9)
    wanted = svm.NuSVC(**settings, tol=1e-8).fit(x, y, weights)
    with jax.enable_x64(True):
        found = NuSVC(**settings, tol=1e-8).fit(x, y, weights)
        decision = found.decision_function(x)
    properties.agree(NuSVC.fit, decision, wanted.decision_function(x), by="scikit-learn", rtol=1e-4)
    np.testing.assert_array_equal(found.predict(x), wanted.predict(x))
    assert found.dual_coef_.shape == wanted.dual_coef_.shape
    assert (np.abs(found.duality_gap_) <= 1e-6 * np.abs(found.primal_)).all()


def test_nu_bounds_the_fractions():
    found = NuSVC(nu=0.3).fit(X[50:], Y[50:])
    sign = np.where(Y[50:] == 2, 1.0, -1.0)
    errors = (sign * found.decision_function(X[50:]) < 1 - 1e-3).mean()
    assert errors <= 0.3 <= len(found.support_) / 100


def test_warm_start_resumes_but_not_for_another_nu():
    model = NuSVC(nu=0.3, warm_start=True).fit(X, Y)
    assert (model.fit(X, Y).n_iter_ == 0).all()
    other = model.set_params(nu=0.2).fit(X, Y).decision_function(X)
    np.testing.assert_array_equal(other, NuSVC(nu=0.2).fit(X, Y).decision_function(X))


def test_invalid_nu():
    with pytest.raises(InputError, match=r"`nu` must be <= 0.666667, twice .* got 0.9"):
        NuSVC(nu=0.9).fit(X[25:100], Y[25:100])
    with pytest.raises(InputError, match=r"`nu` must be a finite number > 0 and <= 1, got 1.5"):
        NuSVC(nu=1.5).fit(X, Y)
