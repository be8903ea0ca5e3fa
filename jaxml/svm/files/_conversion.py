"""Conversion between fitted estimators and the models of libsvm and liblinear.

libsvm and liblinear keep the classes in the order of the training set, and the first of two is
positive. The estimators, like scikit-learn, sort the classes, and the second of two is positive.
"""

from typing import Any

import jax
import numpy as np
from scipy import sparse
from sklearn.dummy import DummyClassifier

from jaxml.errors import InputError
from jaxml.svm import reductions
from jaxml.svm.estimators import SVC, SVR, LinearSVC, LinearSVR, NuSVC, OneClassSVM
from jaxml.svm.estimators._fitted_kernel import FittedKernel
from jaxml.svm.files._liblinear_model import LiblinearModel
from jaxml.svm.files._libsvm_model import LibsvmModel

LinearEstimator = LinearSVC | LinearSVR
KernelEstimator = SVC | NuSVC | SVR | OneClassSVM

# Loss and penalty of liblinear's solvers. The first solver with given values is written.
_CLASSIFIERS = {
    "L2R_L2LOSS_SVC": ("squared_hinge", "l2"),
    "L2R_L2LOSS_SVC_DUAL": ("squared_hinge", "l2"),
    "L2R_L1LOSS_SVC_DUAL": ("hinge", "l2"),
    "L1R_L2LOSS_SVC": ("squared_hinge", "l1"),
    "MCSVM_CS": ("hinge", "l2"),
}
_REGRESSORS = {
    "L2R_L2LOSS_SVR": "squared_epsilon_insensitive",
    "L2R_L2LOSS_SVR_DUAL": "squared_epsilon_insensitive",
    "L2R_L1LOSS_SVR_DUAL": "epsilon_insensitive",
}
_ESTIMATORS: dict[str, Any] = {
    "c_svc": SVC,
    "nu_svc": NuSVC,
    "epsilon_svr": SVR,
    "nu_svr": SVR,
    "one_class": OneClassSVM,
}


def to_model(estimator: LinearEstimator | KernelEstimator) -> LibsvmModel | LiblinearModel:
    """Converts a fitted estimator to a model that can be written to a file.

    Linear estimators become models of liblinear, kernel estimators models of libsvm. Probabilities
    are omitted, because libsvm's are computed differently. Classes must be integers, and kernels
    must not be callables.

    Example:
      >>> model = to_model(LinearSVC().fit([[0.0], [1.0]], [3, 5]))
      >>> model.solver_type, model.labels.tolist(), model.weights.round(3).tolist()
      ('L2R_L2LOSS_SVC', [5, 3], [[0.909]])
    """
    if isinstance(estimator, LinearSVC | LinearSVR):
        return _to_liblinear(estimator)
    return _to_libsvm(estimator)


def to_estimator(
    model: LibsvmModel | LiblinearModel, *, num_features: int | None = None
) -> LinearEstimator | KernelEstimator | DummyClassifier:
    """Converts a model to a fitted estimator that predicts.

    Hyper-parameters that files do not store, such as C and the tolerance, have their defaults.
    Probabilities are omitted. Both of libsvm's regressions become `SVR`.

    Args:
      model: the model.
      num_features: number of features of the data, or of training samples for a precomputed
        kernel; None for as many as the model has or needs.

    Raises:
      InputError: no estimator corresponds to the model (logistic regression, and liblinear's
        one-class model).

    Example:
      >>> model = LiblinearModel("L2R_L2LOSS_SVC", np.array([[0.5]]), labels=np.array([-1, 1]))
      >>> to_estimator(model).predict([[-3.0], [3.0]]).tolist()
      [1, -1]
    """
    if isinstance(model, LiblinearModel):
        return _from_liblinear(model)
    if model.labels is not None and len(model.labels) == 1:  # the training set had no other class
        label = int(model.labels[0])
        estimator = DummyClassifier(strategy="constant", constant=label)
        return estimator.fit(np.zeros((1, max(num_features or 0, 1))), [label])
    return _from_libsvm(model, num_features)


def _to_liblinear(estimator: LinearEstimator) -> LiblinearModel:
    bias, bias_weights, labels = -1.0, None, None
    if estimator.fit_intercept:
        scaling = estimator.intercept_scaling
        bias = 1.0 if scaling is None else float(scaling)
        bias_weights = np.atleast_1d(estimator.intercept_) / bias
    if isinstance(estimator, LinearSVC):
        labels = _integers(estimator.classes_)
        labels = labels[::-1] if len(labels) == 2 else labels
        solver = _name(_CLASSIFIERS, (estimator.loss, estimator.penalty))
    else:
        solver = _name(_REGRESSORS, estimator.loss)
    return LiblinearModel(solver, np.atleast_2d(estimator.coef_), bias, bias_weights, labels)


def _from_liblinear(model: LiblinearModel) -> LinearEstimator:
    estimator: Any
    with_bias: dict[str, Any] = {"fit_intercept": model.bias_weights is not None}
    if model.bias > 0:
        with_bias["intercept_scaling"] = model.bias
    functions = np.column_stack([model.weights, model.intercept])
    if model.solver_type in _REGRESSORS:
        estimator = LinearSVR(loss=_REGRESSORS[model.solver_type], **with_bias)
        estimator.coef_ = functions[0, :-1]
    elif model.labels is not None and model.solver_type in _CLASSIFIERS:
        loss, penalty = _CLASSIFIERS[model.solver_type]
        estimator = LinearSVC(penalty, loss, **with_bias)
        order = np.argsort(model.labels)
        estimator.classes_ = model.labels[order]
        if len(order) == 2:  # the second class against the first, in which a function may be absent
            functions = np.pad(functions, ((0, 2 - len(functions)), (0, 0)))
            functions = np.diff(functions[order], axis=0)
        else:
            functions = functions[order]
        estimator.coef_ = functions[:, :-1]
    else:
        raise InputError(
            f"`solver_type` must be that of a support vector classifier or regressor, "
            f"got {model.solver_type}"
        )
    estimator.intercept_ = functions[:, -1]
    estimator.n_features_in_ = model.weights.shape[1]
    return estimator


def _to_libsvm(estimator: KernelEstimator) -> LibsvmModel:
    if callable(estimator.kernel):
        raise InputError("`kernel` must be a name to be written to a model file, got a callable")
    fitted = estimator._kernel
    coefficients, intercept = estimator.dual_coef_, estimator.intercept_
    fields: dict[str, Any] = {}
    if isinstance(estimator, SVC | NuSVC):
        fields["labels"] = _integers(estimator.classes_)
        fields["num_support"] = np.asarray(estimator.n_support_, np.int64)
        if len(estimator.classes_) == 2:
            coefficients, intercept = -coefficients, -intercept
    if estimator.kernel == "precomputed":
        fields["support"] = np.asarray(estimator.support_, np.int64)
    else:
        vectors = np.asarray(estimator.support_vectors_, np.float64)
        fields["support_vectors"] = sparse.csr_array(vectors)
    return LibsvmModel(
        _name(_ESTIMATORS, type(estimator)),
        "polynomial" if estimator.kernel == "poly" else estimator.kernel,
        coefficients,
        -np.atleast_1d(intercept),
        degree=fitted.degree,
        gamma=fitted.gamma,
        coef0=fitted.coef0,
        **fields,
    )


def _from_libsvm(model: LibsvmModel, num_features: int | None) -> KernelEstimator:
    kernel = "poly" if model.kernel_type == "polynomial" else model.kernel_type
    kind = _ESTIMATORS[model.svm_type]
    estimator = kind(kernel=kernel, degree=model.degree, gamma=model.gamma, coef0=model.coef0)
    order = np.arange(model.coefficients.shape[1])
    estimator.n_support_ = np.array([len(order)], np.int32)
    estimator.dual_coef_, estimator.intercept_ = model.coefficients, -model.rho
    if model.labels is not None and model.num_support is not None:
        classes = np.argsort(model.labels)
        owner = np.repeat(np.arange(len(classes)), model.num_support)
        order = np.concatenate([np.flatnonzero(owner == one) for one in classes])
        estimator.classes_ = model.labels[classes]
        estimator.n_support_ = model.num_support[classes].astype(np.int32)
        estimator.dual_coef_, estimator.intercept_ = _sorted(model, classes, owner, order)
    if kind is OneClassSVM:
        estimator.offset_ = -estimator.intercept_
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    if model.support is not None:
        estimator.support_, estimator.support_vectors_ = model.support[order], np.empty((0, 0))
        least = int(estimator.support_.max(initial=-1)) + 1
        estimator.n_features_in_ = max(num_features or 0, least)
        estimator._kernel = FittedKernel(kernel, "matrix", dtype)
        return estimator
    assert model.support_vectors is not None
    vectors = model.support_vectors[order].toarray()
    missing = max((num_features or 0) - vectors.shape[1], 0)
    vectors = np.pad(vectors, ((0, 0), (0, missing)))
    estimator.support_, estimator.support_vectors_ = order.astype(np.int32), vectors
    estimator.n_features_in_ = vectors.shape[1]
    origin = vectors.mean(0) if kernel == "rbf" else None
    estimator._kernel = FittedKernel(
        kernel, "named", dtype, model.gamma, model.coef0, model.degree, origin
    )
    return estimator


def _sorted(
    model: LibsvmModel, classes: np.ndarray, owner: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the coefficients and intercepts of sorted classes, the second of two positive.

    Args:
      model: a classifier.
      classes: `[classes]` the model's class indices in the new order.
      owner: `[vectors]` the model's class index of each vector.
      order: `[vectors]` the vectors in the new order.
    """
    pairs = reductions.pairs(len(classes))
    number_of = {pair: number for number, pair in enumerate(pairs)}
    found, intercepts = np.zeros_like(model.coefficients), np.zeros_like(model.rho)
    for number, (first, second) in enumerate(pairs):
        old = int(classes[first]), int(classes[second])
        side = 1.0 if old[0] < old[1] else -1.0
        intercepts[number] = -side * model.rho[number_of[min(old), max(old)]]
        for own, other, row in ((*old, second - 1), (*old[::-1], first)):
            mine = owner == own
            found[row, mine] = side * model.coefficients[other - (other > own), mine]
    side = -1.0 if len(classes) == 2 else 1.0
    return side * found[:, order], side * intercepts


def _name(table: dict[str, Any], value: Any) -> str:
    """Returns the first name of a value."""
    return next(name for name, known in table.items() if known == value)


def _integers(classes: np.ndarray) -> np.ndarray:
    found = np.asarray(classes)
    if found.dtype.kind not in "iufb" or (found != found.astype(np.int64)).any():
        raise InputError(f"classes must be integers in a model file, got {found.tolist()}")
    return found.astype(np.int64)
