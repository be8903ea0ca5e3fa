"""The objectives of support vector machines in plain NumPy, row by row, and what tests share."""

import dataclasses

import jax
import numpy as np

from tests import properties, references

# The arguments that come after the problem.
_ARGUMENTS = "alpha", "weights", "outputs", "intercept", "rho", "epsilon"


def posed(problem, function, names):
    """The compiled function of arrays that are fields of the problem or arguments after it."""
    made = getattr(problem, "func", problem)
    fields = {field.name for field in dataclasses.fields(made)}
    static = {"loss", "penalty", "bias", "squared", "num_classes"} & fields

    def call(*arrays, **settings):
        given = dict(zip(names.split(), arrays, strict=True)) | settings
        rest = [given.pop(name) for name in _ARGUMENTS if name in given and name not in fields]
        return function(problem(**given), *rest)

    call.__module__ = function.__module__
    call.__qualname__ = f"{function.__name__}({made.__name__})"
    return jax.jit(call, static_argnames=tuple(static))


def evaluate(function, *arrays, **settings):
    """The compiled function of float64 arrays; None and Python values stay what they are."""

    def as_double(value):
        floating = isinstance(value, np.ndarray) and value.dtype.kind == "f"
        return value.astype(np.float64) if floating else value

    with jax.enable_x64(True):
        weights = {k: as_double(v) for k, v in settings.items() if isinstance(v, np.ndarray)}
        rest = {k: v for k, v in settings.items() if not isinstance(v, np.ndarray)}
        call = references.plain_jit(lambda arrays, weights: function(*arrays, **weights, **rest))
        result = call([as_double(a) for a in arrays], weights)
        return jax.tree.map(np.asarray, result)


def agree_that_it_closes(function, gap, value, *, by, within):
    """Asserts that a gap is 0 but for a share of the value, and records this share."""
    share = float(gap / abs(value))
    assert -1e-12 <= share <= within
    key = properties.name_of(function), by, "float64"
    properties.record[key] = max(properties.record.get(key, 0.0), abs(share))


def signs(labels):
    return np.where(labels == 1, 1.0, -1.0)


def costs(labels, C, sample_weight=None, class_weight=None):
    values = np.full(len(labels), float(C))
    if sample_weight is not None:
        values = values * sample_weight
    if class_weight is not None:
        values = values * np.array([class_weight[int(label)] for label in labels])
    return values


def margin_loss(margin, loss):
    if loss == "logistic":
        return np.logaddexp(0.0, -margin)
    return max(0.0, 1.0 - margin) ** (2 if loss == "squared_hinge" else 1)


def cost(outputs, labels, C, sample_weight, class_weight, *, loss):
    rows = zip(costs(labels, C, sample_weight, class_weight), signs(labels), outputs, strict=True)
    return sum(c * margin_loss(s * f, loss) for c, s, f in rows)


def primal(w, b, x, labels, C, sample_weight, class_weight, *, loss, penalty="l2", bias="free"):
    counted = [*w, b] if bias == "penalized" else list(w)
    size = sum(abs(v) for v in counted) if penalty == "l1" else sum(v * v for v in counted) / 2
    outputs = np.array([row @ w + b for row in x])
    return size + cost(outputs, labels, C, sample_weight, class_weight, loss=loss)


def dual(alpha, gram, labels, C, sample_weight, class_weight, *, loss, bias="free"):
    kernel = gram + (1.0 if bias == "penalized" else 0.0)
    s, value = signs(labels), 0.0
    for i, c in enumerate(costs(labels, C, sample_weight, class_weight)):
        value += alpha[i]
        if loss == "squared_hinge" and c > 0:
            value -= alpha[i] ** 2 / (4 * c)
        for j in range(len(alpha)):
            value -= s[i] * alpha[i] * kernel[i, j] * s[j] * alpha[j] / 2
    return value


def tube_loss(error, epsilon, loss):
    return max(0.0, abs(error) - epsilon) ** (2 if loss.startswith("squared") else 1)


def svr_primal(w, b, x, targets, C, epsilon, sample_weight, *, loss, bias="free"):
    c = costs(targets, C, sample_weight)
    size = (w @ w + (b * b if bias == "penalized" else 0.0)) / 2
    errors = [row @ w + b - y for row, y in zip(x, targets, strict=True)]
    return size + sum(ci * tube_loss(e, epsilon, loss) for ci, e in zip(c, errors, strict=True))


def svr_dual(beta, gram, targets, C, epsilon, sample_weight, *, loss, bias="free"):
    kernel = gram + (1.0 if bias == "penalized" else 0.0)
    c, value = costs(targets, C, sample_weight), 0.0
    for i, b in enumerate(beta):
        value += targets[i] * b - epsilon * abs(b)
        if loss.startswith("squared") and c[i] > 0:
            value -= b**2 / (4 * c[i])
        value -= sum(b * kernel[i, j] * beta[j] for j in range(len(beta))) / 2
    return value


def multiclass_loss(logits, label, loss, squared):
    missing = [max(0.0, 1 + z - logits[label]) for m, z in enumerate(logits) if m != label]
    if loss == "crammer_singer":
        return max(missing) ** (2 if squared else 1)
    return sum(m ** (2 if squared else 1) for m in missing)


def multiclass_primal(
    w, b, x, labels, C, sample_weight, class_weight, *, loss, squared=False, bias="penalized"
):
    size = ((w**2).sum() + ((b**2).sum() if bias == "penalized" else 0.0)) / 2
    rows = zip(costs(labels, C, sample_weight, class_weight), x @ w + b, labels, strict=True)
    return size + sum(c * multiclass_loss(z, y, loss, squared) for c, z, y in rows)


def multiclass_dual(
    alpha, gram, labels, C, sample_weight, class_weight, *, loss, squared=False, bias="penalized"
):
    kernel = gram + (1.0 if bias == "penalized" else 0.0)
    value = -sum(column @ kernel @ column for column in alpha.T) / 2
    for row, y, c in zip(alpha, labels, costs(labels, C, sample_weight, class_weight), strict=True):
        others = np.delete(row, y)
        value -= others.sum()
        if squared and c > 0:
            counted = row[y] ** 2 if loss == "crammer_singer" else (others**2).sum()
            value -= counted / (4 * c)
    return value


def one_class_primal(w, rho, x, nu, sample_weight):
    v = np.ones(len(x)) if sample_weight is None else sample_weight
    missing = [max(0.0, rho - row @ w) for row in x]
    return w @ w / 2 - nu * v.sum() * rho + v @ missing


def nu_primal(w, b, rho, x, labels, nu, sample_weight):
    v = np.ones(len(x)) if sample_weight is None else sample_weight
    missing = [max(0.0, rho - s * (row @ w + b)) for s, row in zip(signs(labels), x, strict=True)]
    return w @ w / 2 - nu * v.sum() * rho + v @ missing
