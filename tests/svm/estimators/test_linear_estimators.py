"""The linear estimators against liblinear, and their scikit-learn conventions."""

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn.svm
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxml.svm import LinearSVC, LinearSVR
from jaxml.svm.linear import _examples, _fit

EXACT: dict[str, Any] = {"tol": 1e-10, "max_iter": 10**6}


def digits():
    x, y = load_digits(return_X_y=True)
    return x[:400] / 16, y[:400] % 4


def tumours():
    x, y = load_breast_cancer(return_X_y=True)
    x = StandardScaler().fit_transform(x).astype(np.float32).astype(float)  # what float32 holds
    return x, np.where(y == 1, "benign", "malignant")


def objective(model, x, y, *, C, loss, penalty="l2", weight=1.0):
    """liblinear's, summed over the problems, of a fitted model of either library."""
    classes = model.classes_ if len(model.classes_) > 2 else model.classes_[1:]
    signs = np.where(y[:, None] == classes, 1, -1)
    values = x @ model.coef_.astype(float).T + model.intercept_
    excess = np.maximum(0, 1 - signs * values) ** (2 if loss == "squared_hinge" else 1)
    all_weights = np.c_[model.coef_, np.broadcast_to(model.intercept_, len(model.coef_))]
    size = np.abs(all_weights).sum() if penalty == "l1" else np.square(all_weights).sum() / 2
    return size + C * (np.broadcast_to(weight, len(y))[:, None] * excess).sum()


@pytest.mark.slow
@pytest.mark.parametrize("data", [digits, tumours])
@pytest.mark.parametrize(
    ("penalty", "loss"), [("l2", "squared_hinge"), ("l2", "hinge"), ("l1", "squared_hinge")]
)
def test_the_optimum_is_that_of_liblinear(data, penalty, loss):
    x, y = data()
    ours = LinearSVC(penalty, loss, C=0.5).fit(x, y)
    theirs = sklearn.svm.LinearSVC(penalty, loss, C=0.5, dual=penalty == "l2", **EXACT).fit(x, y)
    found = objective(ours, x, y, C=0.5, loss=loss, penalty=penalty)
    least = objective(theirs, x, y, C=0.5, loss=loss, penalty=penalty)
    assert least * (1 - 1e-6) <= found <= least * (1 + 1e-4)
    np.testing.assert_allclose(ours.objective_, found, rtol=1e-9)
    assert found - ours.duality_gap_.sum() <= least * (1 + 1e-9)  # the gap is a true bound
    assert ours.relative_gap_ <= ours.tol
    assert ours.coef_.shape == theirs.coef_.shape
    assert np.mean(ours.predict(x) == theirs.predict(x)) >= 0.995


@pytest.mark.parametrize("loss", ["epsilon_insensitive", "squared_epsilon_insensitive"])
def test_regression_matches_liblinear(loss):
    x, y = load_diabetes(return_X_y=True)
    ours = LinearSVR(loss=loss, C=20.0, epsilon=10.0).fit(x, y)
    theirs = sklearn.svm.LinearSVR(loss=loss, C=20.0, epsilon=10.0, **EXACT).fit(x, y)

    def value(model):
        excess = np.maximum(0, np.abs(y - model.predict(x)) - 10)
        size = np.square(np.r_[model.coef_, model.intercept_]).sum() / 2
        return size + 20 * (excess ** (2 if loss.startswith("squared") else 1)).sum()

    assert value(theirs) * (1 - 1e-6) <= value(ours) <= value(theirs) * (1 + 1e-4)
    np.testing.assert_allclose(ours.objective_, value(ours), rtol=1e-6)
    assert value(ours) - ours.duality_gap_ <= value(theirs) * (1 + 1e-9)


def test_the_intercept():
    x, y = tumours()
    free, none = (
        LinearSVC(intercept_scaling=None).fit(x, y),
        LinearSVC(fit_intercept=False).fit(x, y),
    )
    assert none.intercept_ == 0
    residual = np.maximum(0, 1 - np.where(y == "malignant", 1, -1) * free.decision_function(x))
    assert abs((np.where(y == "malignant", 1, -1) * residual).sum()) < 0.02 * residual.sum()
    large = LinearSVC(intercept_scaling=100.0, tol=1e-6).fit(x, y)
    np.testing.assert_allclose(large.intercept_, free.intercept_, rtol=1e-2)


@pytest.mark.slow
def test_l1_without_an_intercept():
    x, y = digits()
    ours = LinearSVC("l1", fit_intercept=False).fit(x, y)
    settings: Any = {"fit_intercept": False, "dual": False, **EXACT}
    theirs = sklearn.svm.LinearSVC("l1", **settings).fit(x, y)
    least = objective(theirs, x, y, C=1.0, loss="squared_hinge", penalty="l1")
    found = objective(ours, x, y, C=1.0, loss="squared_hinge", penalty="l1")
    assert least * (1 - 1e-6) <= found <= least * (1 + 1e-4)
    assert ours.converged_


def test_l1_with_a_scaled_intercept():
    x, y = digits()
    settings: Any = {"intercept_scaling": 10.0, "C": 0.1}
    ours = LinearSVC("l1", tol=1e-5, **settings).fit(x, y)
    exact: Any = settings | {"tol": 1e-6, "max_iter": 10**5, "random_state": 0, "dual": False}
    theirs = sklearn.svm.LinearSVC("l1", **exact).fit(x, y)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=2e-3)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=2e-2)


@pytest.mark.slow
def test_large_sparse_samples_are_solved_in_float64(monkeypatch):
    monkeypatch.setattr(_examples, "_DENSE_DENSITY", 1.0)
    x, y = digits()
    counts = scipy.sparse.csr_matrix(x * np.geomspace(1, 1e4, x.shape[1]))
    ours = LinearSVC(tol=1e-7).fit(counts, y)
    settings: Any = {"dual": False, **EXACT}
    theirs = sklearn.svm.LinearSVC(**settings).fit(counts, y)
    least = objective(theirs, counts, y, C=1.0, loss="squared_hinge")
    assert objective(ours, counts, y, C=1.0, loss="squared_hinge") <= least * (1 + 1e-7)


def test_weights_are_factors_of_the_cost():
    x, y = digits()
    weight = np.random.default_rng(0).uniform(0, 2, len(y))
    balanced = LinearSVC(class_weight="balanced").fit(x, y, weight)
    factors = {k: weight.sum() / (4 * weight[y == k].sum()) for k in range(4)}
    given = LinearSVC(class_weight=factors).fit(x, y, weight)
    alone = LinearSVC().fit(x, y, weight * np.vectorize(factors.get)(y))
    np.testing.assert_allclose(balanced.objective_, given.objective_, rtol=1e-9)
    np.testing.assert_allclose(balanced.objective_, alone.objective_, rtol=1e-9)


def test_sparse_samples():
    x, y = digits()
    dense = LinearSVC(tol=1e-6).fit(x, y)
    sparse = LinearSVC(tol=1e-6).fit(scipy.sparse.csr_matrix(x), y)
    np.testing.assert_allclose(sparse.objective_, dense.objective_, rtol=2e-6)
    values = sparse.decision_function(scipy.sparse.csr_matrix(x))
    np.testing.assert_allclose(values, dense.decision_function(x), atol=2e-2)


def test_a_spent_budget_warns_and_the_fit_resumes():
    x, y = digits()
    model = LinearSVC(max_iter=2, warm_start=True)
    with pytest.warns(ConvergenceWarning, match="after 2 steps the relative duality gap is"):
        model.fit(x, y)
    assert not model.converged_
    first = model.relative_gap_
    for _ in range(20):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, y)
        if model.converged_:
            break
    assert model.relative_gap_ <= 1e-4 < first


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [LinearSVC("l2", "hinge", max_iter=2), LinearSVR(max_iter=2)], ids=["svc", "svr"]
)
def test_a_fit_resumes_after_a_spent_budget(model):
    x, y = digits()
    with pytest.warns(ConvergenceWarning, match="refit with warm_start=True to continue"):
        model.fit(x, y)
    untouched: Any = clone(model)
    whole = untouched.set_params(max_iter=1000).fit(x, y)
    model.set_params(warm_start=True, max_iter=1000).fit(x, y)
    assert model.converged_
    assert model.n_iter_ < whole.n_iter_


@pytest.mark.slow
@pytest.mark.parametrize("change", ["classes", "features", "rows"])
def test_a_solution_of_other_data_is_not_reused(change):
    x, y = digits()
    model = LinearSVC(warm_start=True).fit(x, y)
    if change == "classes":
        y = y % 3
    elif change == "features":
        x = x[:, :40]
    else:
        x, y = x[:100], y[:100]
    model.fit(x, y)
    assert model.objective_ == LinearSVC().fit(x, y).objective_


@pytest.mark.slow
def test_an_unreachable_tolerance_ends():
    x, y = digits()
    model = LinearSVC(C=1e30)
    with pytest.warns(ConvergenceWarning, match="the relative duality gap is"):
        model.fit(x, y)
    assert model.n_iter_ < 500


def test_a_failed_certificate_is_retried(monkeypatch):
    """The working precision says solved, float64 says not yet."""
    proofs = []
    prove = _fit.certify

    def doubtful(*arguments, **options):
        proof = prove(*arguments, **options)
        proofs.append(proof)
        return proof._replace(dual=proof.dual - proof.primal) if len(proofs) == 1 else proof

    monkeypatch.setattr(_fit, "certify", doubtful)
    model = LinearSVC().fit(*digits())
    assert len(proofs) == 2
    assert model.converged_


@pytest.mark.slow
def test_scikit_learn_conventions():
    x, y = digits()
    pipeline = make_pipeline(StandardScaler(), LinearSVC(max_iter=50))
    search = GridSearchCV(pipeline, {"linearsvc__C": [0.01, 1.0]}, cv=2).fit(x, y)
    assert search.best_score_ > 0.8
    model = search.best_estimator_[-1]
    cloned: Any = clone(model)
    assert cloned.get_params() == model.get_params()
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(x), search.predict(x))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (LinearSVC(C=-1.0), "`C` must be a finite number > 0, got -1.0"),
        (LinearSVC(tol=0.0), "`tol` must be a finite number > 0, got"),
        (LinearSVC("l3"), "`penalty` must be one of l1, l2, got 'l3'"),
        (LinearSVC("l1", "hinge"), "`loss` must be one of squared_hinge, got 'hinge'"),
        (LinearSVC(max_iter=0), "`max_iter` must be an int >= 1, got 0"),
        (
            LinearSVC(intercept_scaling=0.0),
            "`intercept_scaling` must be a finite number > 0, got 0.0",
        ),
        (LinearSVC(class_weight={0: 0, 1: 1}), r"`class_weight` must have .* got \{0: 0, 1: 1\}"),
        (LinearSVR(epsilon=-1.0), "`epsilon` must be a finite number >= 0, got -1.0"),
    ],
    ids=str,
)
def test_invalid_arguments(model, message):
    with pytest.raises(ValueError, match=message):
        model.fit(*digits())


def test_invalid_data():
    x, y = digits()
    with pytest.raises(ValueError, match=r"`y` must have at least two classes, got 1 class: 0"):
        LinearSVC().fit(x, 0 * y)
    with pytest.raises(ValueError, match="NaN"):
        LinearSVC().fit(np.full_like(x, np.nan), y)
    with pytest.raises(ValueError, match=r"`X` must have no values beyond .*; scale the features"):
        LinearSVC().fit(1e200 * x, y)
    with pytest.raises(ValueError, match="60 features, but LinearSVC is expecting 64"):
        LinearSVC().fit(x, y).predict(x[:, :60])
