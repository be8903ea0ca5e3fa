"""Models against the decision functions of libsvm and liblinear, and scikit-learn."""

import itertools
from typing import Any

import numpy as np
import pytest
import sklearn.svm
from scipy import sparse
from sklearn.datasets import load_diabetes, load_iris

from jaxml.errors import InputError
from jaxml.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC, OneClassSVM
from jaxml.svm.files import (
    LiblinearModel,
    LibsvmModel,
    read_model,
    to_estimator,
    to_model,
    write_model,
)

KERNELS = {
    "linear": lambda m, x, z: x @ z.T,
    "polynomial": lambda m, x, z: (m.gamma * x @ z.T + m.coef0) ** m.degree,
    "rbf": lambda m, x, z: np.exp(-m.gamma * np.square(x[:, None] - z[None]).sum(2)),
    "sigmoid": lambda m, x, z: np.tanh(m.gamma * x @ z.T + m.coef0),
}


def _libsvm_predicts(model, x):
    """By libsvm's rules, in float64: votes, the first of the most, in the order of its labels."""
    vectors = model.support_vectors.toarray()
    kernel = KERNELS[model.kernel_type](model, x, vectors)
    if model.labels is None:
        value = kernel @ model.coefficients[0] - model.rho[0]
        return np.where(value > 0, 1, -1) if model.svm_type == "one_class" else value
    ends = np.concatenate([[0], np.cumsum(model.num_support)])
    votes = np.zeros((len(x), len(model.labels)), int)
    for p, (a, b) in enumerate(itertools.combinations(range(len(model.labels)), 2)):
        first, second = slice(ends[a], ends[a + 1]), slice(ends[b], ends[b + 1])
        value = kernel[:, first] @ model.coefficients[b - 1, first]
        value += kernel[:, second] @ model.coefficients[a, second] - model.rho[p]
        votes[np.arange(len(x)), np.where(value > 0, a, b)] += 1
    return votes, model.labels


def _liblinear_predicts(model, x):
    values = x @ model.weights.T
    if model.bias >= 0:
        values += model.bias * model.bias_weights
    if model.labels is None:
        return values[:, 0]
    if values.shape[1] == 1:
        return np.where(values[:, 0] > 0, model.labels[0], model.labels[1])
    return model.labels[values.argmax(1)]


def _assert_votes(found, votes, labels):
    """What is predicted has the most votes, and of equals none is better."""
    most = votes.max(1)
    place = {label: number for number, label in enumerate(labels.tolist())}
    mine = votes[np.arange(len(found)), [place[label] for label in found.tolist()]]
    np.testing.assert_array_equal(mine, most)


def _estimator(model, **settings) -> Any:
    return to_estimator(model, **settings)


def _written(model, path) -> Any:
    write_model(path, model)
    return read_model(path)


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    "fitted",
    [
        SVC(C=2.0, gamma=0.4),
        SVC(kernel="linear"),
        SVC(kernel="poly", degree=2, gamma=0.3, coef0=1.0),
        SVC(kernel="sigmoid", gamma=0.01),
        NuSVC(nu=0.2, gamma=0.4),
    ],
    ids=lambda m: f"{type(m).__name__}-{m.kernel}",
)
def test_a_written_classifier_predicts_as_libsvm_and_is_restored(fitted, classes, tmp_path):
    x, y = load_iris(return_X_y=True)
    x, y = x[y < classes], np.array([-5, 3, 8])[y[y < classes]]
    fitted.fit(x, y)
    model = _written(to_model(fitted), tmp_path / "model")
    _assert_votes(fitted.predict(x), *_libsvm_predicts(model, x))
    again = _estimator(model, num_features=4)
    assert type(again) is type(fitted)
    np.testing.assert_array_equal(again.predict(x), fitted.predict(x))
    scale = np.abs(fitted.decision_function(x)).max()
    np.testing.assert_allclose(
        again.decision_function(x), fitted.decision_function(x), atol=1e-5 * scale
    )
    np.testing.assert_array_equal(again.n_support_, fitted.n_support_)


def test_signs_match_the_libsvm_of_scikit_learn():
    x, y = load_iris(return_X_y=True)
    for classes in (2, 3):
        part = y < classes
        fitted = SVC(C=2.0, gamma=0.4, tol=1e-5).fit(x[part], y[part])
        settings: Any = {"C": 2.0, "gamma": 0.4, "tol": 1e-8}
        oracle: Any = sklearn.svm.SVC(**settings).fit(x[part], y[part])
        model: Any = to_model(fitted)
        # What scikit-learn keeps of libsvm's own arrays, before it turns the sign of two classes.
        np.testing.assert_allclose(-model.rho, oracle._intercept_, atol=1e-3)
        np.testing.assert_array_equal(fitted.support_, oracle.support_)
        np.testing.assert_allclose(model.coefficients, oracle._dual_coef_, atol=1e-2)


@pytest.mark.parametrize("labels", [[7, -2], [-2, 7], [7, -2, 9, 3], [1, 2, 3, 4]])
def test_classes_are_sorted(labels):
    generator = np.random.default_rng(len(labels))
    count, vectors = len(labels), 5 * len(labels)
    model = LibsvmModel(
        "c_svc",
        "rbf",
        generator.normal(size=(count - 1, vectors)),
        generator.normal(size=count * (count - 1) // 2),
        sparse.csr_array(generator.normal(size=(vectors, 3))),
        gamma=0.3,
        labels=np.array(labels),
        num_support=np.full(count, 5),
    )
    x = generator.normal(size=(200, 3))
    estimator = _estimator(model)
    assert estimator.classes_.tolist() == sorted(labels)
    _assert_votes(estimator.predict(x), *_libsvm_predicts(model, x))
    votes, _ = _libsvm_predicts(to_model(estimator), x)
    expected, _ = _libsvm_predicts(model, x)
    np.testing.assert_array_equal(votes, expected[:, np.argsort(labels)])


@pytest.mark.parametrize("fitted", [SVR(C=50.0, gamma=2.0), OneClassSVM(gamma=2.0)])
def test_models_with_one_output(fitted, tmp_path):
    x, y = load_diabetes(return_X_y=True)
    x, y = x[:100], y[:100]
    fitted.fit(x, y)
    model = _written(to_model(fitted), tmp_path / "model")
    expected = _libsvm_predicts(model, x)
    again = _estimator(model, num_features=10)
    for found in (fitted, again):
        if isinstance(fitted, SVR):
            np.testing.assert_allclose(found.predict(x), expected, rtol=1e-5)
        else:  # what is on the boundary may fall to either side
            assert (found.predict(x) != expected).mean() <= 0.05
            np.testing.assert_allclose(again.offset_, fitted.offset_)


def test_a_precomputed_kernel_keeps_its_support(tmp_path):
    x, y = load_iris(return_X_y=True)
    gram = x @ x.T
    fitted = SVC(kernel="precomputed").fit(gram, y)
    model = _written(to_model(fitted), tmp_path / "model")
    np.testing.assert_array_equal(model.support, fitted.support_)
    again = _estimator(model, num_features=len(x))
    np.testing.assert_array_equal(again.predict(gram), fitted.predict(gram))
    assert _estimator(model, num_features=1).n_features_in_ == fitted.support_.max() + 1


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(
    ("settings", "solver"),
    [
        ({}, "L2R_L2LOSS_SVC"),
        ({"loss": "hinge", "intercept_scaling": 2.0}, "L2R_L1LOSS_SVC_DUAL"),
        ({"penalty": "l1"}, "L1R_L2LOSS_SVC"),
        ({"fit_intercept": False}, "L2R_L2LOSS_SVC"),
        ({"intercept_scaling": None}, "L2R_L2LOSS_SVC"),
    ],
)
def test_a_written_linear_classifier(settings, solver, classes, tmp_path):
    x, y = load_iris(return_X_y=True)
    x, y = x[y < classes], np.array([-5, 3, 8])[y[y < classes]]
    fitted = LinearSVC(**settings).fit(x, y)
    model = _written(to_model(fitted), tmp_path / "model")
    assert model.solver_type == solver
    np.testing.assert_array_equal(_liblinear_predicts(model, x), fitted.predict(x))
    again = _estimator(model)
    np.testing.assert_allclose(again.coef_, fitted.coef_)
    np.testing.assert_allclose(again.intercept_, fitted.intercept_, rtol=1e-12)
    assert (again.loss, again.penalty) == (fitted.loss, fitted.penalty)


@pytest.mark.parametrize("loss", ["epsilon_insensitive", "squared_epsilon_insensitive"])
def test_a_written_linear_regression(loss, tmp_path):
    x, y = load_diabetes(return_X_y=True)
    fitted = LinearSVR(loss=loss, C=10.0).fit(x, y)
    model = _written(to_model(fitted), tmp_path / "model")
    np.testing.assert_allclose(_liblinear_predicts(model, x), fitted.predict(x))
    again = _estimator(model)
    np.testing.assert_allclose(again.predict(x), fitted.predict(x))
    assert again.loss == loss


@pytest.mark.parametrize("solver", ["L2R_L2LOSS_SVC_DUAL", "MCSVM_CS"])
@pytest.mark.parametrize("labels", [[4, -1], [-1, 4], [9, -3, 4]])
def test_linear_models_with_classes_in_any_order(solver, labels):
    generator = np.random.default_rng(0)
    functions = 1 if len(labels) == 2 and solver != "MCSVM_CS" else len(labels)
    model = LiblinearModel(
        solver,
        generator.normal(size=(functions, 3)),
        2.0,
        generator.normal(size=functions),
        np.array(labels),
    )
    x = generator.normal(size=(200, 3))
    expected = _liblinear_predicts(model, x)
    estimator = _estimator(model)
    assert estimator.classes_.tolist() == sorted(labels)
    np.testing.assert_array_equal(estimator.predict(x), expected)
    np.testing.assert_array_equal(_liblinear_predicts(to_model(estimator), x), expected)


def test_unsupported_models_and_estimators_are_rejected():
    logistic = LiblinearModel("L2R_LR", np.ones((1, 2)), labels=np.array([1, 2]))
    with pytest.raises(InputError, match=r"`solver_type` must be .* got L2R_LR"):
        _estimator(logistic)
    with pytest.raises(InputError, match="classes must be integers in a model file"):
        to_model(LinearSVC().fit([[0.0], [1.0]], ["a", "b"]))
    fitted = SVC(kernel=lambda x, z: x @ z.T).fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(InputError, match="`kernel` must be a name"):
        to_model(fitted)
