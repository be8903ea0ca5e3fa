"""SVC against scikit-learn's."""

import itertools
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse
from sklearn import svm
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from jaxml.errors import InputError
from jaxml.svm import SVC
from jaxml.svm.estimators._fitted_kernel import fit_kernel
from jaxml.svm.estimators._kernel import rescaled
from jaxml.svm.kernel import _device_solver, _solve, _working_set
from tests import properties

X, Y = load_iris(return_X_y=True)
KERNELS = [
    {"kernel": "rbf"},
    {"kernel": "linear", "C": 0.5},
    {"kernel": "poly", "degree": 2, "coef0": 1.0, "gamma": 0.1},
    {"kernel": "sigmoid", "gamma": 0.01, "coef0": -0.1},
]


def pair_values(model, gram, labels):
    """The dual objective of each pair of classes, from what libsvm stores, in plain NumPy."""
    owner, classes = labels[model.support_], len(model.classes_)
    values = []
    for a in range(classes):
        for b in range(a + 1, classes):
            beta = np.where(owner == a, model.dual_coef_[b - 1], 0.0)
            beta = np.where(owner == b, model.dual_coef_[a], beta)
            part = gram[np.ix_(model.support_, model.support_)]
            values.append(np.abs(beta).sum() - beta @ part @ beta / 2)
    return np.array(values)


def gram_of(settings, x):
    names = {k: v for k, v in settings.items() if k in ("gamma", "coef0", "degree")}
    if settings["kernel"] == "rbf":
        names.setdefault("gamma", 1 / (x.shape[1] * x.var()))
    return pairwise.pairwise_kernels(x, metric=settings["kernel"], **names)


@pytest.mark.slow
@pytest.mark.parametrize("count", [100, 150])
@pytest.mark.parametrize("settings", KERNELS, ids=lambda s: s["kernel"])
def test_the_optimum_is_that_of_libsvm(settings, count):
    x, y = X[:count, :], Y[:count]
    wanted = svm.SVC(**settings, tol=1e-8).fit(x, y)
    with jax.enable_x64(True):
        found = SVC(**settings, tol=1e-8).fit(x, y)
        decision, pairs = (
            found.decision_function(x),
            found.set_params(decision_function_shape="ovo").decision_function(x),
        )
    gram = gram_of(settings, x)
    dual = pair_values(wanted, gram, y)
    properties.agree(SVC.fit, pair_values(found, gram, y), dual, by="scikit-learn", rtol=1e-8)
    np.testing.assert_allclose(found.dual_, dual, rtol=1e-8)
    properties.agree(
        SVC.decision_function, decision, wanted.decision_function(x), by="scikit-learn", rtol=1e-5
    )
    wanted.set_params(decision_function_shape="ovo")
    wanted_pairs = wanted.decision_function(x)
    scale = np.abs(wanted_pairs).max()
    # Rows of a third class are far from both: the root of the objective's accuracy.
    np.testing.assert_allclose(pairs / scale, wanted_pairs / scale, atol=1e-4)
    np.testing.assert_array_equal(found.predict(x), wanted.predict(x))
    np.testing.assert_array_equal(found.support_, wanted.support_)
    np.testing.assert_array_equal(found.n_support_, wanted.n_support_)
    np.testing.assert_array_equal(found.support_vectors_, wanted.support_vectors_)
    # Kernels of low rank leave the variables themselves less certain than the objective.
    np.testing.assert_allclose(found.dual_coef_, wanted.dual_coef_, atol=1e-3)
    np.testing.assert_allclose(found.intercept_, wanted.intercept_, atol=1e-4)
    assert found.fit_status_ == 0
    assert found.shape_fit_ == wanted.shape_fit_
    if settings["kernel"] == "linear":
        np.testing.assert_allclose(found.coef_, wanted.coef_, atol=1e-4)


@pytest.mark.slow
def test_float32_is_near():
    x, y = (part[:400] for part in load_digits(return_X_y=True))
    found, wanted = SVC(C=10.0).fit(x.astype(np.float32), y), svm.SVC(C=10.0, tol=1e-6).fit(x, y)
    gram = gram_of({"kernel": "rbf"}, x)
    np.testing.assert_allclose(
        pair_values(found, gram, y).sum(), pair_values(wanted, gram, y).sum(), rtol=1e-5
    )
    assert found.dual_coef_.dtype == np.float64
    assert found.dual_coef_.shape == (9, len(found.support_))
    assert (found.predict(x) == wanted.predict(x)).mean() >= 0.999
    assert found.relative_gap_ < 2e-3


def test_the_gap_is_a_bound_by_an_independent_evaluation():
    x, y = X[:100], Y[:100]
    with jax.enable_x64(True):
        found = SVC(tol=0.1).fit(x, y)
    gram, beta = gram_of({"kernel": "rbf"}, x), np.zeros(100)
    beta[found.support_] = found.dual_coef_[0]
    norm, outputs, sign = beta @ gram @ beta, gram @ beta, np.where(y == 1, 1.0, -1.0)
    kinks = sign - outputs
    primal = min(norm / 2 + np.maximum(0, 1 - sign * (outputs + b)).sum() for b in kinks)
    dual = np.abs(beta).sum() - norm / 2
    np.testing.assert_allclose(found.primal_, [primal], rtol=1e-10)
    np.testing.assert_allclose(found.duality_gap_, [primal - dual], rtol=1e-6)
    np.testing.assert_allclose(found.relative_gap_, (primal - dual) / primal, rtol=1e-6)
    best = pair_values(svm.SVC(tol=1e-9).fit(x, y), gram, y)[0]
    assert dual <= best <= primal


def test_sample_and_class_weights():
    weights = np.random.default_rng(0).uniform(-0.1, 2.0, size=len(Y))
    settings = {"gamma": 0.3, "class_weight": {0: 2.0, 2: 0.5}, "tol": 1e-8}
    wanted = svm.SVC(**settings).fit(X, Y, weights)
    with jax.enable_x64(True):
        found = SVC(**settings).fit(X, Y, weights)
        decision = found.decision_function(X)
    np.testing.assert_allclose(decision, wanted.decision_function(X), atol=1e-6)
    # scikit-learn's counts only the rows that libsvm was left with.
    counted = np.flatnonzero(weights > 0)
    np.testing.assert_array_equal(found.support_, counted[wanted.support_])
    np.testing.assert_array_equal(found.class_weight_, wanted.class_weight_)
    balanced = SVC(class_weight="balanced").fit(X[:120], Y[:120])
    np.testing.assert_allclose(balanced.class_weight_, [0.8, 0.8, 2.0])


def test_a_sample_of_weight_two_is_two_samples():
    x, y, weights = X[50:], Y[50:], np.tile([1.0, 2.0], 50)
    twice = np.repeat(np.arange(100), weights.astype(int))
    with jax.enable_x64(True):
        one, other = SVC(gamma=0.2, tol=1e-8), SVC(gamma=0.2, tol=1e-8)
        np.testing.assert_allclose(
            one.fit(x, y, weights).decision_function(x),
            other.fit(x[twice], y[twice]).decision_function(x),
            atol=1e-6,
        )


def jax_kernel(x, z):
    return jnp.tanh(0.01 * x @ z.T) + 0.1 * x @ z.T


def numpy_kernel(x, z):
    return pairwise.laplacian_kernel(x, z, gamma=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [jax_kernel, numpy_kernel])
def test_callables_and_precomputed_matrices(kernel):
    with jax.enable_x64(True):
        matrix = np.asarray(kernel(X, X))
    wanted = svm.SVC(kernel="precomputed", tol=1e-8).fit(matrix, Y)
    with jax.enable_x64(True):
        called = SVC(kernel=kernel, tol=1e-8).fit(X, Y)
        given = SVC(kernel="precomputed", tol=1e-8).fit(matrix, Y)
        decisions = called.decision_function(X[::2]), given.decision_function(matrix[::2])
    for decision in decisions:
        np.testing.assert_allclose(decision, wanted.decision_function(matrix[::2]), atol=1e-6)
    assert called._kernel.kind == ("traced" if kernel is jax_kernel else "matrix")
    np.testing.assert_array_equal(called.support_, wanted.support_)


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_data_far_from_the_origin_keeps_its_digits(kernel):
    wanted = svm.SVC(kernel=kernel, tol=1e-6).fit(X, Y).decision_function(X)
    found = SVC(kernel=kernel, tol=1e-5).fit(X + 3e4, Y).decision_function(X + 3e4)
    np.testing.assert_allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize("count", [100, 150])
def test_linear_coefficients_are_for_uncentered_data(count):
    x, y = X[:count] + 300.0, Y[:count]
    found = SVC(kernel="linear", tol=1e-5, decision_function_shape="ovo").fit(x, y)
    decision = found.decision_function(x)
    by_features = (x @ found.coef_.T + found.intercept_).reshape(decision.shape)
    np.testing.assert_allclose(by_features, decision, atol=1e-9)
    # scikit-learn's has too few digits for the intercept there.
    wanted = svm.SVC(kernel="linear", tol=1e-8).fit(X[:count], y)
    intercept = wanted.intercept_ - wanted.coef_ @ np.full(4, 300.0)
    np.testing.assert_allclose(found.coef_, wanted.coef_, atol=1e-3)
    np.testing.assert_allclose(found.intercept_, intercept, rtol=1e-3)
    # As if fitted in float64, though it was in float32.
    np.testing.assert_allclose(found._problem_weights().sum(0), 0, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("load", [load_wine, load_breast_cancer])
def test_unscaled_data_is_solved_to_the_tolerance(load):
    x, y = load(return_X_y=True)
    model = SVC(kernel="linear").fit(x, y)
    assert model.fit_status_ == 0
    pairs = list(itertools.combinations(np.unique(y), 2))
    dual_terms = pair_values(model, x @ x.T, y)
    for number, pair in enumerate(pairs):
        rows = np.isin(y, pair)
        first = pair[1] if len(pairs) == 1 else pair[0]
        outputs = x[rows] @ model.coef_[number] + model.intercept_[number]
        hinge = np.maximum(0, 1 - np.where(y[rows] == first, 1.0, -1.0) * outputs).sum()
        norm = model.coef_[number] @ model.coef_[number]
        np.testing.assert_allclose(model.primal_[number], norm / 2 + hinge, rtol=1e-7)
        np.testing.assert_allclose(model.dual_[number], dual_terms[number], rtol=1e-7)
    # No dual of libsvm is better, which at its default tolerance is far from the optimum.
    wanted = svm.SVC(kernel="linear").fit(x, y)
    assert (pair_values(wanted, x @ x.T, y) <= model.primal_ * (1 + 1e-9)).all()
    assert model.relative_gap_ < 1e-3


def test_an_rbf_kernel_of_distant_clusters_keeps_its_digits():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(200, 2))
    x = z + np.where(np.arange(200) % 2, 5000.0, -5000.0)[:, None] * [1.0, 0.0]
    y = (np.hypot(*z.T) > 1.18).astype(int)
    model = SVC(gamma=1.0, C=10.0).fit(x, y)
    gram = pairwise.rbf_kernel(x - x.mean(0), gamma=1.0)
    beta = np.zeros(200)
    beta[model.support_] = model.dual_coef_[0]
    sign = np.where(y == 1, 1.0, -1.0)
    output = gram @ beta
    hinge = np.maximum(0, 1 - sign * (output + model.intercept_)).sum()
    gap = beta @ output + 10 * hinge - np.abs(beta).sum()
    np.testing.assert_allclose(model.duality_gap_.sum(), gap, atol=1e-5)
    assert gap < 1e-3 * model.primal_.sum()
    np.testing.assert_allclose(model.decision_function(x), output + model.intercept_, atol=1e-6)


@pytest.mark.slow
def test_classes_of_very_different_sizes():
    x, labels = load_digits(return_X_y=True)
    rows = np.concatenate([np.flatnonzero(labels == 0)] + [np.flatnonzero(labels == c)[:9]
                          for c in range(1, 10)])  # fmt: skip
    wanted = svm.SVC(tol=1e-8, decision_function_shape="ovo").fit(x[rows], labels[rows])
    with jax.enable_x64(True):
        found = SVC(tol=1e-8, decision_function_shape="ovo").fit(x[rows], labels[rows])
        decision = found.decision_function(x[:50])
    np.testing.assert_allclose(decision, wanted.decision_function(x[:50]), atol=1e-6)


def test_sparse_data():
    dense, thin = SVC().fit(X, Y), SVC().fit(sparse.csr_array(X), Y)
    np.testing.assert_array_equal(
        dense.decision_function(X), thin.decision_function(sparse.csc_array(X))
    )


@pytest.mark.slow
def test_probabilities_agree_with_predictions():
    model = SVC(probability=True, random_state=0).fit(X, Y)
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    np.testing.assert_array_equal(model.classes_[probabilities.argmax(1)], model.predict(X))
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), probabilities)
    assert probabilities[np.arange(150), Y].mean() > 0.85
    again = SVC(probability=True, random_state=0).fit(X, Y).predict_proba(X)
    np.testing.assert_array_equal(again, probabilities)
    two = SVC(probability=True, random_state=0).fit(X[50:], Y[50:], np.full(100, 1.0))
    np.testing.assert_array_equal(two.classes_[two.predict_proba(X).argmax(1)], two.predict(X))
    assert not hasattr(SVC().fit(X, Y), "predict_proba")


@pytest.mark.slow
def test_the_most_probable_class_is_predicted_for_tied_votes():
    rng = np.random.default_rng(0)
    model = SVC(probability=True, random_state=0).fit(X, rng.permutation(Y))
    grid = X + rng.normal(size=X.shape)
    predicted = model.predict(grid)
    np.testing.assert_array_equal(model.predict_proba(grid).argmax(1), predicted)
    by_votes = model.set_params(probability=False).predict(grid)
    assert (by_votes != predicted).any()


@pytest.mark.slow
def test_samples_of_weight_zero_do_not_change_probabilities():
    x, y = X[50:], Y[50:]
    weights = np.where(np.arange(100) % 4 == 0, 0.0, 1.0)
    far = np.where(weights[:, None] > 0, x, 9.0 - x)

    def probabilities(x):
        model = SVC(kernel="linear", probability=True, random_state=0, tol=1e-7)
        with jax.enable_x64(True):
            return model.fit(x, y, weights).predict_proba(X)

    np.testing.assert_allclose(probabilities(far), probabilities(x), atol=1e-6)


@pytest.mark.slow
def test_probabilities_of_a_precomputed_kernel():
    x, y = X[50:], Y[50:]
    gram = x @ x.T
    settings = {"probability": True, "random_state": 0, "tol": 1e-7}
    with jax.enable_x64(True):
        by_name = SVC(kernel="linear", **settings).fit(x, y).predict_proba(x)
        given = SVC(kernel="precomputed", **settings).fit(gram, y).predict_proba(gram)
    np.testing.assert_allclose(given, by_name, atol=1e-5)


@pytest.mark.slow
def test_probabilities_with_weights_of_named_classes():
    names = np.array(["a", "b", "c"])
    model = SVC(probability=True, random_state=0, class_weight={"a": 1.0, "b": 2.0, "c": 0.5})
    numbered = SVC(probability=True, random_state=0, class_weight={0: 1.0, 1: 2.0, 2: 0.5})
    found = model.fit(X, names[Y]).predict_proba(X)
    np.testing.assert_array_equal(found, numbered.fit(X, Y).predict_proba(X))


@pytest.mark.slow
def test_a_kernel_that_is_undefined_at_zero():
    def cosine(x, z):
        x, z = (part / jnp.linalg.norm(part, axis=1, keepdims=True) for part in (x, z))
        return x @ z.T

    decision = SVC(kernel=cosine).fit(X, Y).decision_function(X)
    peer_kernel: Any = pairwise.cosine_similarity
    wanted = svm.SVC(kernel=peer_kernel).fit(X, Y).decision_function(X)
    np.testing.assert_allclose(decision, wanted, atol=0.01)


def test_data_without_variance_has_a_gamma_of_one():
    assert fit_kernel("rbf", np.ones((5, 3)), gamma="scale", coef0=0.0, degree=3).gamma == 1.0
    assert fit_kernel("rbf", np.ones((5, 3)), gamma="auto", coef0=0.0, degree=3).gamma == 1 / 3


def test_variables_are_rescaled_to_lower_bounds():
    value = np.array([[[0.5, 1.0, 0.0, 0.25]], [[0.1, 0.1, 0.2, 0.0]]])
    upper = np.array([[[1.0, 0.5, 1.0, 1.0]], [[1.0, 1.0, 1.0, 1.0]]])
    expected = np.array([[[0.25, 0.5, 0.0, 0.125]], [[0.1, 0.1, 0.2, 0.0]]])
    np.testing.assert_allclose(np.asarray(rescaled(value, upper)), expected)


def test_ties_are_broken_on_request():
    x = np.array([[0.0, 0], [0, 1], [1, 0], [5, 5]])
    settings = {"kernel": "linear", "break_ties": True}
    wanted = svm.SVC(**settings).fit(x, [0, 1, 2, 2])
    grid = np.random.default_rng(0).uniform(-2, 6, size=(200, 2))
    found = SVC(**settings, tol=1e-5).fit(x, [0, 1, 2, 2])
    assert (found.predict(grid) == wanted.predict(grid)).mean() > 0.98
    with pytest.raises(InputError, match="`break_ties` must be False for"):
        found.set_params(decision_function_shape="ovo").predict(grid)


@pytest.mark.slow
def test_pipeline_search_clone_and_pickle():
    pipeline = make_pipeline(StandardScaler(), SVC())
    search = GridSearchCV(pipeline, {"svc__C": [0.01, 10.0]}, cv=3).fit(X, Y)
    assert search.best_params_ == {"svc__C": 10.0}
    assert search.best_score_ > 0.95
    model = SVC(C=3.0).fit(X, Y)
    cloned: Any = clone(model)
    assert cloned.get_params() == model.get_params()
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.decision_function(X), model.decision_function(X))


def test_a_fit_resumes_after_a_spent_budget():
    x, y = (part[:600] for part in load_digits(return_X_y=True))
    y = y % 2
    model = SVC(max_iter=1, warm_start=True, C=10.0, cache_size=20)
    with pytest.warns(ConvergenceWarning, match=r"max_iter=1 reached; .* gap"):
        model.set_params(tol=1e-9).fit(x, y)
    assert model.fit_status_ == 1
    first = model.relative_gap_
    model.set_params(max_iter=-1, tol=1e-3).fit(x, y)
    assert model.fit_status_ == 0
    assert model.relative_gap_ <= first
    rounds = model.set_params(max_iter=-1).fit(x, y).n_iter_
    assert (rounds == 0).all()


def test_warm_starts_with_another_c_and_other_data():
    model = SVC(warm_start=True, C=5.0, tol=1e-5).fit(X, Y)
    for C in (0.3, 20.0):
        warm = model.set_params(C=C).fit(X, Y).decision_function(X)
        cold = SVC(C=C, tol=1e-5).fit(X, Y).decision_function(X)
        np.testing.assert_allclose(warm, cold, atol=2e-4)
    other = model.fit(X[:100], Y[:100]).decision_function(X)
    fresh = SVC(C=20.0, tol=1e-5).fit(X[:100], Y[:100])
    np.testing.assert_allclose(other, fresh.decision_function(X), atol=1e-6)


def test_warm_starts_with_other_labels_begin_at_zero():
    x, labels = X[50:], np.random.default_rng(0).permutation(Y[50:])
    model = SVC(warm_start=True, tol=1e-5).fit(x, Y[50:]).fit(x, labels)
    fresh = SVC(tol=1e-5).fit(x, labels)
    np.testing.assert_allclose(model.dual_coef_.sum(), 0, atol=1e-9)
    np.testing.assert_array_equal(model.decision_function(X), fresh.decision_function(X))
    assert model.relative_gap_ >= 0


@pytest.mark.slow
def test_an_interruption_warns_and_keeps_the_best_point(monkeypatch):
    monkeypatch.setattr(_solve, "_HOST_SECONDS", 0.0)
    advance, calls = _working_set.advance, []

    def stop(*arguments, **settings):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return advance(*arguments, **settings)

    monkeypatch.setattr(_working_set, "advance", stop)
    monkeypatch.setattr(_device_solver, "_default_size", lambda count: 16)
    model = SVC(warm_start=True)
    with pytest.warns(ConvergenceWarning, match="interrupted by the keyboard. The violation"):
        model.fit(X[50:], Y[50:])
    assert model.fit_status_ == 1
    assert 0 < model.relative_gap_ < 1
    assert model.predict(X).shape == (150,)
    model.fit(X[50:], Y[50:])
    assert model.fit_status_ == 0


@pytest.mark.slow
def test_an_interruption_on_the_host_keeps_the_best_point():
    x, y = load_breast_cancer(return_X_y=True)

    def stop(progress):
        raise KeyboardInterrupt

    callback: Any = stop
    model = SVC(kernel="linear", verbose=callback, warm_start=True)
    with pytest.warns(ConvergenceWarning, match="interrupted by the keyboard"):
        model.fit(x, y)
    assert model.fit_status_ == 1
    assert model.set_params(verbose=False).fit(x, y).fit_status_ == 0


def test_a_cache_smaller_than_a_working_set_is_rejected(monkeypatch):
    monkeypatch.setattr(_solve, "_HOST_SECONDS", 0.0)
    with pytest.raises(InputError, match=r"`cache_size` must be at least .* got 0.001"):
        SVC(cache_size=1e-3).fit(X, Y)


def test_verbose_prints_each_round(capsys):
    SVC(verbose=True).fit(X, Y)
    assert "round 1: violation" in capsys.readouterr().out


ERRORS = [
    ({"C": -1.0}, r"`C` must be a finite number > 0 and <= 3.4\S+, got -1.0"),
    ({"C": float("nan")}, "`C` must be .*, got nan"),
    ({"C": float("inf")}, "`C` must be .*, got inf"),
    ({"C": True}, "`C` must be .*, got True"),
    ({"tol": 0.0}, "`tol` must be a finite number > 0, got 0.0"),
    ({"kernel": "rfb"}, r"`kernel` must be one of .* got 'rfb'; did you mean 'rbf'\?"),
    ({"gamma": "scael"}, r"`gamma` must be .* got 'scael'; did you mean 'scale'\?"),
    ({"gamma": -0.1}, "`gamma` must be scale, auto or a finite number >= 0, got -0.1"),
    ({"gamma": None}, "`gamma` must be .* got None"),
    ({"coef0": float("nan")}, "`coef0` must be a finite number, got nan"),
    ({"coef0": "1"}, "`coef0` must be a finite number, got '1'"),
    ({"degree": None}, "`degree` must be an int >= 0, got None"),
    ({"degree": True}, "`degree` must be an int >= 0, got True"),
    ({"class_weight": {1: -2.0}}, r"`class_weight` must have finite factors > 0, got \{1: -2.0\}"),
    ({"class_weight": {1: float("nan")}}, r"`class_weight` must .* got \{1: nan\}"),
    ({"kernel": "poly", "degree": -1}, "`degree` must be an int >= 0, got -1"),
    ({"max_iter": 0}, "`max_iter` must be -1 or an int >= 1, got 0"),
    (
        {"decision_function_shape": "ovx"},
        "`decision_function_shape` must .* got 'ovx'",
    ),
    (
        {"kernel": lambda x, z: np.ones(3)},
        r"`kernel` must return .* got shape \(3,\)",
    ),
]


@pytest.mark.parametrize(("settings", "message"), ERRORS)
def test_invalid_arguments(settings, message):
    with pytest.raises(InputError, match=message), properties.unchecked():
        SVC(**settings).fit(X, Y)


def test_invalid_data():
    with pytest.raises(InputError, match=r"`y` must have at least two classes, got 1 class: 0"):
        SVC().fit(X[:50], Y[:50])
    with pytest.raises(ValueError, match="NaN"):
        SVC().fit(np.where(X > 7, np.nan, X), Y)
    with pytest.raises(InputError, match=r"`X` must be a square matrix .* got \(150, 4\)"):
        SVC(kernel="precomputed").fit(X, Y)
    with pytest.raises(ValueError, match="X has 3 features, but SVC is expecting 4"):
        SVC().fit(X, Y).predict(X[:, :3])
    with pytest.raises(ValueError, match="sample_weight contains NaN"):
        SVC().fit(X, Y, np.where(Y == 1, np.nan, 1.0))
    with pytest.raises(InputError, match=r"`sample_weight` must be > 0 for at least one sample"):
        SVC().fit(X, Y, -np.ones(150))
    with pytest.raises(InputError, match=r"`sample_weight` must be .* got 0 for all of class 1"):
        SVC().fit(X, Y, np.where(Y == 1, 0.0, 1.0))
    with pytest.raises(AttributeError, match="coef_ is only available for kernel='linear'"):
        SVC().fit(X, Y).coef_  # noqa: B018


def test_balanced_class_weights_count_sample_weights_as_repetitions():
    times = np.random.default_rng(0).integers(0, 4, size=100)
    x, y = X[50:], Y[50:]
    y = np.where(np.arange(100) < 70, 0, 1)
    settings = {"class_weight": "balanced", "gamma": 0.2, "tol": 1e-7}
    weighted = SVC(**settings).fit(x, y, times)
    repeated = SVC(**settings).fit(np.repeat(x, times, axis=0), np.repeat(y, times))
    np.testing.assert_allclose(weighted.primal_, repeated.primal_, rtol=1e-6)
    np.testing.assert_allclose(weighted.class_weight_, repeated.class_weight_)
    np.testing.assert_allclose(
        weighted.decision_function(X), repeated.decision_function(X), atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["rbf", "precomputed"])
def test_samples_of_weight_zero_are_ignored(kernel):
    weight = np.where(np.arange(150) % 3 == 0, 0.0, 1.0)
    used = np.flatnonzero(weight)
    rbf = {"kernel": kernel, "gamma": 0.2, "probability": True, "random_state": 3}
    x = pairwise.rbf_kernel(X, gamma=0.2) if kernel == "precomputed" else X
    fewer = x[np.ix_(used, used)] if kernel == "precomputed" else x[used]
    found = SVC(**rbf).fit(x, Y, weight)
    wanted = SVC(**rbf).fit(fewer, Y[used])
    np.testing.assert_array_equal(found.support_, used[wanted.support_])
    there = x[:, used] if kernel == "precomputed" else x
    np.testing.assert_allclose(found.predict_proba(x), wanted.predict_proba(there), atol=1e-9)


@pytest.mark.slow
def test_probabilities_where_a_class_has_samples_of_weight_zero():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 2)), np.repeat([0, 1], 30)
    weight = np.ones(60)
    weight[33:] = 0
    for state in range(6):
        model = SVC(probability=True, random_state=state).fit(x, y, weight)
        assert np.isfinite(model.predict_proba(x)).all()
