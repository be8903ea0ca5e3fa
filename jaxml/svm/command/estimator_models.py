"""Estimators as model files hold them, and back.

libsvm and liblinear do not sort the classes and count the first one as positive; scikit-learn and
the estimators sort them, and of two classes the second one is positive.
"""

from typing import Any

import jax
import numpy as np
from scipy import sparse
from sklearn.dummy import DummyClassifier

from jaxml.errors import InputError
from jaxml.svm import reductions
from jaxml.svm.estimators.linear_svc import LinearSVC
from jaxml.svm.estimators.linear_svr import LinearSVR
from jaxml.svm.estimators.nu_svc import NuSVC
from jaxml.svm.estimators.one_class import OneClassSVM
from jaxml.svm.estimators.space import Space
from jaxml.svm.estimators.svc import SVC
from jaxml.svm.estimators.svr import SVR
from jaxml.svm.files.liblinear_model import LiblinearModel
from jaxml.svm.files.libsvm_model import LibsvmModel

LinearEstimator = LinearSVC | LinearSVR
KernelEstimator = SVC | NuSVC | SVR | OneClassSVM

# The loss and the penalty of liblinear's solvers; the first one of a pair is written.
_CLASSIFIERS = {
    "L2R_L2LOSS_SVC": ("squared_hinge", "l2"),
    "L2R_L2LOSS_SVC_DUAL": ("squared_hinge", "l2"),
    "L2R_L1LOSS_SVC_DUAL": ("hinge", "l2"),
    "L1R_L2LOSS_SVC": ("squared_hinge", "l1"),
}
_REGRESSIONS = {
    "L2R_L2LOSS_SVR": "squared_epsilon_insensitive",
    "L2R_L2LOSS_SVR_DUAL": "squared_epsilon_insensitive",
    "L2R_L1LOSS_SVR_DUAL": "epsilon_insensitive",
}
_MACHINES: dict[str, Any] = {
    "c_svc": SVC,
    "nu_svc": NuSVC,
    "epsilon_svr": SVR,
    "nu_svr": SVR,
    "one_class": OneClassSVM,
}
_KERNELS = {
    "linear": "linear",
    "poly": "polynomial",
    "rbf": "rbf",
    "sigmoid": "sigmoid",
    "precomputed": "precomputed",
}


def to_model(estimator: LinearEstimator | KernelEstimator) -> LibsvmModel | LiblinearModel:
    """A fitted estimator as a model that can be written to a file.

    Args:
      estimator: linear for a model of liblinear, with a kernel for one of libsvm. Its
        probabilities are not libsvm's and are left out.

    Returns:
      The model.

    Raises:
      InputError: classes that are no integers, or a kernel that is a callable.

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
    """A model as a fitted estimator that predicts.

    Args:
      model: as it was read. It does not say with which price, tolerance and the like it was
        fitted: of those the estimator has its defaults. Probabilities are left out.
      num_features: how many the data has, or rows where the kernel is precomputed; None for as
        many as the model has or needs.

    Returns:
      The estimator: `SVR` for both of libsvm's regressions.

    Raises:
      InputError: logistic regression, or one class of liblinear's, which no estimator is.

    Example:
      >>> model = LiblinearModel("L2R_L2LOSS_SVC", np.array([[0.5]]), labels=np.array([-1, 1]))
      >>> to_estimator(model).predict([[-3.0], [3.0]]).tolist()
      [1, -1]
    """
    if isinstance(model, LiblinearModel):
        return _from_liblinear(model)
    if model.labels is not None and len(model.labels) == 1:
        return _constant(int(model.labels[0]), max(num_features or 0, 1))
    return _from_libsvm(model, num_features)


def _constant(label: int, num_features: int) -> DummyClassifier:
    """Predicts one class, as libsvm does where its training set had no other."""
    estimator = DummyClassifier(strategy="constant", constant=label)
    return estimator.fit(np.zeros((1, num_features)), [label])


def _to_liblinear(estimator: LinearEstimator) -> LiblinearModel:
    weights = np.atleast_2d(estimator.coef_)
    bias, bias_weights, labels = -1.0, None, None
    if estimator.fit_intercept:
        scaling = estimator.intercept_scaling
        bias = 1.0 if scaling is None else float(scaling)
        bias_weights = np.atleast_1d(estimator.intercept_) / bias
    if isinstance(estimator, LinearSVC):
        labels = _integers(estimator.classes_)
        labels = labels[::-1] if len(labels) == 2 else labels
        settings = (estimator.loss, estimator.penalty)
        solver = next(name for name, known in _CLASSIFIERS.items() if known == settings)
    else:
        solver = next(name for name, known in _REGRESSIONS.items() if known == estimator.loss)
    return LiblinearModel(solver, weights, bias, bias_weights, labels)


def _from_liblinear(model: LiblinearModel) -> LinearEstimator:
    weights, intercept = model.weights, model.intercept
    estimator: Any
    with_bias: dict[str, Any] = {"fit_intercept": model.bias_weights is not None}
    if model.bias > 0:
        with_bias["intercept_scaling"] = model.bias
    if model.solver_type in _REGRESSIONS:
        estimator = LinearSVR(loss=_REGRESSIONS[model.solver_type], **with_bias)
        estimator.coef_, estimator.intercept_ = weights[0], intercept
    elif model.solver_type in _CLASSIFIERS or model.solver_type == "MCSVM_CS":
        loss, penalty = _CLASSIFIERS.get(model.solver_type, ("hinge", "l2"))
        estimator = LinearSVC(penalty, loss, **with_bias)
        assert model.labels is not None
        estimator.classes_ = np.sort(model.labels)
        order = np.argsort(model.labels)
        if len(order) == 2:
            sides = np.array([1.0, -1.0]) if len(weights) == 2 else np.array([1.0])
            side = -1.0 if order[0] == 0 else 1.0  # its first class is positive, our second
            weights, intercept = side * (sides @ weights)[None], side * (sides @ intercept)[None]
        else:
            weights, intercept = weights[order], intercept[order]
        estimator.coef_, estimator.intercept_ = weights, intercept
    else:
        raise InputError(
            f"solver_type: {model.solver_type} is not supported, only classification and "
            f"regression by support vectors"
        )
    estimator.n_features_in_ = weights.shape[1]
    return estimator


def _to_libsvm(estimator: KernelEstimator) -> LibsvmModel:
    if callable(estimator.kernel):
        raise InputError("kernel: a callable cannot be written to a model file")
    space = estimator._space
    svm_type = next(name for name, kind in _MACHINES.items() if type(estimator) is kind)
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
        svm_type,
        _KERNELS[estimator.kernel],
        coefficients,
        -np.atleast_1d(intercept),
        degree=space.degree,
        gamma=space.gamma,
        coef0=space.coef0,
        **fields,
    )


def _from_libsvm(model: LibsvmModel, num_features: int | None) -> KernelEstimator:
    kernel = next(name for name, known in _KERNELS.items() if known == model.kernel_type)
    machine = _MACHINES[model.svm_type]
    estimator = machine(kernel=kernel, degree=model.degree, gamma=model.gamma, coef0=model.coef0)
    order = np.arange(model.coefficients.shape[1])
    coefficients, intercept = model.coefficients, -model.rho
    estimator.n_support_ = np.array([len(order)], np.int32)
    if model.labels is not None and model.num_support is not None:
        classes = np.argsort(model.labels)
        owner = np.repeat(np.arange(len(classes)), model.num_support)
        order = np.concatenate([np.flatnonzero(owner == one) for one in classes])
        coefficients, intercept = _sorted(coefficients[:, order], intercept, owner[order], classes)
        estimator.classes_ = model.labels[classes]
        estimator.n_support_ = model.num_support[classes].astype(np.int32)
    estimator.dual_coef_, estimator.intercept_ = coefficients, intercept
    if machine is OneClassSVM:
        estimator.offset_ = -intercept
    _set_space(estimator, model, order, kernel, num_features)
    return estimator


def _sorted(
    coefficients: np.ndarray, intercept: np.ndarray, owner: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and intercepts of classes in another order, and of two of the other sign.

    Args:
      coefficients: `[classes - 1, vectors]`, the vectors in the new order.
      intercept: `[pairs]`.
      owner: `[vectors]` old number of each one's class.
      classes: `[classes]` old numbers in the new order.
    """
    count = len(classes)
    old_pairs = {pair: number for number, pair in enumerate(reductions.pairs(count))}
    found, offsets = np.zeros_like(coefficients), np.zeros_like(intercept)
    for number, (first, second) in enumerate(reductions.pairs(count)):
        old = int(classes[first]), int(classes[second])
        side = 1.0 if old[0] < old[1] else -1.0
        offsets[number] = side * intercept[old_pairs[min(old), max(old)]]
        for own, other, slot in ((*old, second - 1), (*old[::-1], first)):
            mine = owner == own
            old_slot = other - 1 if other > own else other
            found[slot, mine] = side * coefficients[old_slot, mine]
    return (-found, -offsets) if count == 2 else (found, offsets)


def _set_space(
    estimator: Any, model: LibsvmModel, order: np.ndarray, kernel: str, num_features: int | None
) -> None:
    """Sets the support vectors and the kernel they have."""
    dtype = jax.dtypes.canonicalize_dtype(np.float64)
    if model.support is not None:
        estimator.support_ = model.support[order]
        estimator.support_vectors_ = np.empty((0, 0))
        least = int(estimator.support_.max(initial=-1)) + 1
        estimator.n_features_in_ = max(num_features or 0, least)
        estimator._space = Space(kernel, "matrix", dtype)
        return
    assert model.support_vectors is not None
    vectors = model.support_vectors[order].toarray()
    missing = max((num_features or 0) - vectors.shape[1], 0)
    vectors = np.pad(vectors, ((0, 0), (0, missing)))
    estimator.support_, estimator.support_vectors_ = order.astype(np.int32), vectors
    estimator.n_features_in_ = vectors.shape[1]
    origin = vectors.mean(0) if kernel == "rbf" else None
    estimator._space = Space(kernel, "named", dtype, model.gamma, model.coef0, model.degree, origin)


def _integers(classes: np.ndarray) -> np.ndarray:
    found = np.asarray(classes)
    if found.dtype.kind not in "iufb" or (found != found.astype(np.int64)).any():
        raise InputError(f"classes: a model file holds integers, not {found.tolist()}")
    return found.astype(np.int64)
