"""Gaps, residuals and projections by their definitions: NumPy, SciPy and the formulas of oracles.

A residual is the fastest growth of the dual along the moves that its constraints allow, measured
by differences of its values. The best intercept, threshold or tube is SciPy's.
"""

import functools
from typing import Any

import numpy as np
import scipy.optimize
import sklearn.metrics.pairwise

from jaxml.svm import objectives
from tests import properties
from tests.svm import oracles

# Values alone: their slopes are those of primal and dual, and a residual's jump at the bounds.
check = functools.partial(properties.check, by="NumPy, SciPy", bfloat16=None, vmap=False, grads=0)


def kernel(x):
    return sklearn.metrics.pairwise.rbf_kernel(x, gamma=0.5)


def check_gaps(posed, names, w, b, alpha, x, *rest, linear, kernels, penalty=None, **kinds):
    """Checks a linear model's gap, and a kernel's gap and residual, at one alpha."""
    functions = (objectives.kernel_duality_gap, objectives.kkt_residual)
    for function, reference in zip(functions, kernels, strict=True):
        posed_for_gram = posed(function, f"alpha gram {names}")
        check(posed_for_gram, alpha, kernel(x), *rest, reference=reference, **kinds)
    kinds |= {"penalty": penalty} if penalty else {}
    gap_of_weights = posed(objectives.duality_gap, f"weights intercept alpha x {names}")
    check(gap_of_weights, w, b, alpha, x, *rest, reference=linear, **kinds)


def steepest(value, point, moves, allowed, step=2.0**-7):
    """How fast a value grows at most by the moves that are allowed; exact for a quadratic one."""
    start, rates = value(point), [0.0]
    for move in moves:
        if allowed(point + step * move):
            half, full = value(point + step / 2 * move), value(point + step * move)
            rates.append((4 * half - full - 3 * start) / step)
    return max(rates)


def moves(count, *, pairs):
    """One entry up and another down, or one alone."""
    units = np.eye(count)
    if pairs:
        return [up - down for i, up in enumerate(units) for j, down in enumerate(units) if i != j]
    return [*units, *-units]


def farthest(terms, points):
    """The largest term of each point, or 0; every term has to be the largest of some point."""
    values = np.array([terms(point) for point in points])
    largest = np.where(values.max(axis=1) > 0, values.argmax(axis=1), -1)
    assert set(largest) >= set(range(values.shape[1]))
    return np.maximum(values.max(axis=1), 0.0)


def least_hinges(weights, rows, offsets, linear, lowest=None):
    """The least of `linear u + sum weights max(0, rows u + offsets)` over u, a linear program."""
    count = len(linear)
    found = scipy.optimize.linprog(
        np.concatenate([linear, weights]),
        A_ub=np.hstack([rows, -np.eye(len(weights))]),
        b_ub=-offsets,
        bounds=[(None, None)] * (count - 1) + [(lowest, None)] + [(0, None)] * len(weights),
    )
    assert found.success, found.message
    return found.fun


def least(value):
    """The least of a smooth convex function of one number."""
    found: Any = scipy.optimize.minimize_scalar(value, bracket=(-3.0, 3.0), tol=1e-12)
    return found.fun


def nearest(point, lower, upper, total=0.0):
    """The projection onto a box whose entries have a given sum."""

    def missing(shift):
        return np.clip(point - shift, lower, upper).sum() - total

    return np.clip(point - scipy.optimize.brentq(missing, -1e3, 1e3, xtol=1e-13), lower, upper)


def corners(costs, signed=False):
    """Dual variables on either bound and between them, all of few digits."""
    shares = np.resize([0.25, 1.0, 0.0, 1.0, 0.0, 0.5, 0.75], len(costs))
    return costs * (shares * np.resize([1, 1, -1, -1], len(costs)) if signed else shares)


def limits(costs, loss):
    """The largest dual variable of each row."""
    return np.where((costs > 0) & loss.startswith("squared"), np.inf, costs)


def gap(w, b, alpha, x, labels, *weights, loss, penalty="l2", bias):
    above = oracles.primal(w, b, x, labels, *weights, loss=loss, penalty=penalty, bias=bias)
    gram, bias = (np.zeros((len(x), len(x))), "none") if penalty == "l1" else (x @ x.T, bias)
    return above - oracles.dual(alpha, gram, labels, *weights, loss=loss, bias=bias)


def kernel_gap(alpha, gram, labels, *weights, loss, bias):
    beta = oracles.signs(labels) * alpha
    f = gram @ beta

    def cost(b):
        return oracles.cost(f + b, labels, *weights, loss=loss)

    implied = beta.sum() if bias == "penalized" else 0.0
    if bias != "free":
        summed = cost(implied)
    elif loss == "hinge":
        s = oracles.signs(labels)
        summed = least_hinges(oracles.costs(labels, *weights), -s[:, None], 1 - s * f, [0.0])
    else:
        summed = least(cost)
    below = oracles.dual(alpha, gram, labels, *weights, loss=loss, bias=bias)
    return (beta @ f + implied**2) / 2 + summed - below


def residual(alpha, gram, labels, *weights, loss, bias):
    s = oracles.signs(labels)
    reach = limits(oracles.costs(labels, *weights), loss)

    def value(beta):
        return oracles.dual(s * beta, gram, labels, *weights, loss=loss, bias=bias)

    def allowed(beta):
        return ((s * beta >= 0) & (s * beta <= reach)).all()

    return steepest(value, s * alpha, moves(len(alpha), pairs=bias == "free"), allowed)


def svr_cost(outputs, targets, C, epsilon, weight, *, loss):
    c = oracles.costs(targets, C, weight)
    return sum(
        ci * oracles.tube_loss(f - y, epsilon, loss)
        for ci, f, y in zip(c, outputs, targets, strict=True)
    )


def svr_gap(w, b, beta, x, targets, *rest, loss, bias):
    above = oracles.svr_primal(w, b, x, targets, *rest, loss=loss, bias=bias)
    return above - oracles.svr_dual(beta, x @ x.T, targets, *rest, loss=loss, bias=bias)


def svr_kernel_gap(beta, gram, targets, C, epsilon, weight, *, loss, bias):
    f, rest = gram @ beta, (C, epsilon, weight)

    def cost(b):
        return svr_cost(f + b, targets, *rest, loss=loss)

    implied = beta.sum() if bias == "penalized" else 0.0
    if bias != "free":
        summed = cost(implied)
    elif loss.startswith("squared"):
        summed = least(cost)
    else:
        errors, c = f - targets, oracles.costs(targets, C, weight)
        sides = np.repeat([1.0, -1.0], len(f))
        offsets = sides * np.tile(errors, 2) - epsilon
        summed = least_hinges(np.tile(c, 2), sides[:, None], offsets, [0.0])
    below = oracles.svr_dual(beta, gram, targets, *rest, loss=loss, bias=bias)
    return (beta @ f + implied**2) / 2 + summed - below


def svr_residual(beta, gram, targets, C, epsilon, weight, *, loss, bias):
    reach = limits(oracles.costs(targets, C, weight), loss)

    def value(beta):
        return oracles.svr_dual(beta, gram, targets, C, epsilon, weight, loss=loss, bias=bias)

    def allowed(beta):
        return (np.abs(beta) <= reach).all()

    return steepest(value, beta, moves(len(beta), pairs=bias == "free"), allowed)


def multiclass_cost(logits, labels, *weights, loss, squared):
    rows = zip(oracles.costs(labels, *weights), logits, labels, strict=True)
    return sum(c * oracles.multiclass_loss(z, y, loss, squared) for c, z, y in rows)


def multiclass_gap(w, b, alpha, x, labels, *weights, **form):
    above = oracles.multiclass_primal(w, b, x, labels, *weights, **form)
    return above - oracles.multiclass_dual(alpha, x @ x.T, labels, *weights, **form)


def multiclass_kernel_gap(alpha, gram, labels, *rest, bias, **form):
    """Of the intercept that comes first among the rest where it is free."""
    b, weights = (rest[0], rest[1:]) if bias == "free" else (np.zeros(alpha.shape[1]), rest)
    b = alpha.sum(axis=0) if bias == "penalized" else b
    f = gram @ alpha
    size = ((alpha * f).sum() + (bias == "penalized") * (b @ b)) / 2
    above = size + multiclass_cost(f + b, labels, *weights, **form)
    return above - oracles.multiclass_dual(alpha, gram, labels, *weights, bias=bias, **form)


def multiclass_limits(alpha, labels, *weights, loss, squared):
    """The least and the largest dual variables."""
    c = oracles.costs(labels, *weights)[:, None]
    own = labels[:, None] == np.arange(alpha.shape[1])
    reach = np.where((c > 0) & squared, np.inf, c)
    if loss == "weston_watkins":
        return np.where(own, -np.inf, -reach), np.where(own, np.inf, 0.0)
    return np.full_like(alpha, -np.inf), np.where(own, reach, 0.0)


def multiclass_residual(alpha, gram, labels, *weights, bias, **form):
    lower, upper = multiclass_limits(alpha, labels, *weights, **form)
    rows, classes = alpha.shape
    within_a_row = [
        np.outer(row, move) for row in np.eye(rows) for move in moves(classes, pairs=True)
    ]

    def value(alpha):
        return oracles.multiclass_dual(alpha, gram, labels, *weights, bias=bias, **form)

    def allowed(alpha):
        return ((alpha >= lower) & (alpha <= upper)).all()

    return steepest(value, alpha, within_a_row, allowed)


def multiclass_nearest(alpha, labels, *weights, **form):
    rows = zip(alpha, *multiclass_limits(alpha, labels, *weights, **form), strict=True)
    return np.stack([nearest(*row) for row in rows])


def one_class_dual(alpha, gram):
    return -alpha @ gram @ alpha / 2


def one_class_gap(w, rho, alpha, x, nu, weight):
    return oracles.one_class_primal(w, rho, x, nu, weight) + ((alpha @ x) ** 2).sum() / 2


def one_class_kernel_gap(alpha, gram, nu, weight):
    f, count = gram @ alpha, len(alpha)
    summed = least_hinges(weight, np.ones((count, 1)), -f, [-nu * weight.sum()])
    return alpha @ f / 2 + summed - one_class_dual(alpha, gram)


def one_class_residual(alpha, gram, nu, weight):
    def allowed(alpha):
        return ((alpha >= 0) & (alpha <= weight)).all()

    def value(alpha):
        return one_class_dual(alpha, gram)

    return steepest(value, alpha, moves(len(alpha), pairs=True), allowed)


def nu_kernel_gap(alpha, gram, labels, nu, weight):
    s = oracles.signs(labels)
    f = gram @ (s * alpha)
    rows = np.stack([-s, np.ones_like(s)], axis=1)
    summed = least_hinges(weight, rows, -s * f, [0.0, -nu * weight.sum()])
    return (s * alpha) @ f / 2 + summed - one_class_dual(s * alpha, gram)


def nu_residual(alpha, gram, labels, nu, weight):
    s = oracles.signs(labels)
    within_a_class = [move for move in moves(len(alpha), pairs=True) if s @ move == 0]

    def allowed(alpha):
        return ((alpha >= 0) & (alpha <= weight)).all()

    return steepest(lambda a: one_class_dual(s * a, gram), alpha, within_a_class, allowed)


def nu_svr_kernel_gap(beta, gram, targets, C, nu, weight):
    f, c = gram @ beta, C * weight
    sides = np.repeat([1.0, -1.0], len(f))
    rows = np.stack([sides, np.full_like(sides, -1.0)], axis=1)
    offsets = sides * np.tile(f - targets, 2)
    summed = least_hinges(np.tile(c, 2), rows, offsets, [0.0, nu * c.sum()], lowest=0.0)
    return beta @ f / 2 + summed - (targets @ beta + one_class_dual(beta, gram))
