"""Sparse problems with more features than examples, solved over the examples within the margin."""

import itertools
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn.svm

from jaxml.svm import LinearSVC
from jaxml.svm.linear import SparseExamples, _newton, _span

# Unit, none, one of another scale, and one without a penalty.
INTERCEPTS: list[dict[str, Any]] = [
    {},
    {"fit_intercept": False},
    {"intercept_scaling": 10.0},
    {"intercept_scaling": None},
]


@pytest.fixture(params=["alone", "together"])
def over_examples(request, monkeypatch):
    """Solves all sparse problems over dual variables, with their own or with shared products."""

    def is_spanned(problems, examples, loss):
        del loss
        return isinstance(examples, SparseExamples) and (problems.intercept_penalty > 0).all()

    monkeypatch.setattr(_newton, "is_spanned", is_spanned)
    monkeypatch.setattr(_span, "_SHARED", 1.0 if request.param == "alone" else -1.0)
    monkeypatch.setattr(_span, "_BLOCK", 2)


def data(seed):
    """Sparse rows, some of them twice or empty, classes, and weights, some of them 0."""
    random = np.random.default_rng(seed)
    count, classes = random.integers(12, 60), random.integers(2, 5)
    features = 1 if seed % 5 == 0 else random.integers(2, 120)
    x = random.normal(size=(count, features)) * (random.random((count, features)) < 0.3)
    x[: count // 4] = x[count // 4 : 2 * (count // 4)]
    x += 3 * (seed % 3 == 0) * (x != 0)
    y = random.permutation(np.r_[np.arange(classes).repeat(2), random.integers(0, classes, count)])
    weight = random.choice([0.0, 0.5, 1.0, 3.0], count)
    weight[[np.flatnonzero(y[:count] == k)[0] for k in np.unique(y[:count])]] = 1
    return x, y[:count], weight


def objective(model, x, y, costs):
    classes = model.classes_ if len(model.classes_) > 2 else model.classes_[1:]
    excess = 1 - np.where(y[:, None] == classes, 1, -1) * (x @ model.coef_.T + model.intercept_)
    scaling = model.intercept_scaling
    own = 0 if scaling is None else np.square(model.intercept_ / scaling).sum()
    return (np.square(model.coef_).sum() + own) / 2 + costs @ np.square(np.maximum(0, excess)).sum(
        1
    )


@pytest.mark.usefixtures("over_examples")
@pytest.mark.parametrize("C", [1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("intercept", INTERCEPTS, ids=str)
def test_the_optimum_is_that_of_the_other_solvers(intercept, C):
    """Of liblinear, or of the dense solver where liblinear has no such intercept or is too slow."""
    if C > 1 and intercept.get("intercept_scaling", 1.0) is None:
        pytest.skip("the solver over the features, which is used here, does not reach 1e-7")
    for seed in range(3):
        x, y, weight = data(seed)
        x = x.astype(np.float32).astype(np.float64)
        settings: Any = {"C": C, "class_weight": {0: 2.0}} | intercept
        dtype = np.float32 if seed % 2 else np.float64
        ours = LinearSVC(tol=1e-7, **settings).fit(
            scipy.sparse.csr_matrix(x, dtype=dtype), y, weight
        )
        assert ours.converged_
        costs = C * weight * np.where(y == 0, 2.0, 1.0)
        found = objective(ours, x, y, costs)
        np.testing.assert_allclose(ours.objective_, found, rtol=1e-9)
        if settings.get("intercept_scaling", 1.0) is None or C > 1:
            least = LinearSVC(tol=1e-9, **settings).fit(x, y, weight).objective_
        else:
            exact: Any = {"tol": 1e-12, "max_iter": 10**4, "dual": False}
            own = settings | {"class_weight": None}  # theirs counts for the positive class only
            theirs = sklearn.svm.LinearSVC(**own, **exact).fit(x, y, costs / C)
            least = objective(theirs, x, y, costs)
        np.testing.assert_allclose(found, least, rtol=1e-6, err_msg=f"{seed}")
        assert found - ours.duality_gap_.sum() <= least * (1 + 1e-9)


@pytest.mark.usefixtures("over_examples")
@pytest.mark.parametrize("intercept", INTERCEPTS, ids=str)
def test_weights_are_the_sums_of_the_dual_variables(intercept):
    """The derivative of the objective is 0 in float64, up to the tolerance."""
    x, y, weight = data(1)
    model = LinearSVC(tol=1e-10, **intercept).fit(scipy.sparse.csr_matrix(x), y, weight)
    signs = np.where(y[:, None] == model.classes_, 1, -1)
    excess = np.maximum(0, 1 - signs * (x @ model.coef_.T + model.intercept_))
    dual = 2 * weight[:, None] * signs * excess
    np.testing.assert_allclose(model.coef_, dual.T @ x, atol=2e-4)
    if model.fit_intercept:
        scaling = model.intercept_scaling
        own = 0 if scaling is None else model.intercept_ / scaling**2
        np.testing.assert_allclose(dual.sum(0), own, atol=2e-4)
    else:
        assert not model.intercept_.any()


@pytest.mark.usefixtures("over_examples")
def test_values_beyond_float32_are_solved_in_float64():
    x, y, _ = data(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = LinearSVC(C=1e-100).fit(scipy.sparse.csr_matrix(1e50 * x), y)
    assert np.isfinite(model.coef_).all()
    assert model.converged_


def test_gram_products_are_those_of_the_selected_examples():
    x, _, _ = data(2)
    examples = SparseExamples(scipy.sparse.csr_matrix(x))
    for index, dtype in itertools.product(([0, 3, 5], range(len(x))), (np.float32, np.float64)):
        some = x[np.array(index)]
        dual = np.random.default_rng(0).normal(size=(3, len(some)))
        found = examples.gram_product(np.array(index), dtype)(dual)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, dual @ some @ some.T, rtol=1e-4, atol=1e-4)
