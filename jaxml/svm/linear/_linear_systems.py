"""Solvers of symmetric positive definite linear systems."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

# Products of conjugate gradients, and the relative residual at which they stop.
_MAX_PRODUCTS, _RESIDUAL = 100, 0.1


def conjugate_gradients(
    gram_product: Callable[[np.ndarray], np.ndarray],
    right: np.ndarray,
    root: np.ndarray,
    corner: np.ndarray,
    goal: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    r"""Solves the Newton systems of the examples, several problems at once.

    The matrices are $I + R (X X^\top + 1 / c) R$, where R is the diagonal matrix of `root`.

    Args:
      gram_product: Multiplies `[systems, examples]` by $X X^\top$.
      right: `[systems, examples]`: the right-hand sides.
      root: `[systems, examples]`: the square roots of the slopes.
      corner: `[systems]`: c, the curvature of the intercept.
      goal: `[systems]`: the squared norms of the right-hand sides of the features' systems, whose
        residuals determine when to stop.

    Returns:
      The solutions, and the indices of the systems that did not converge.
    """
    found, live = np.zeros(right.shape), np.arange(len(right))
    solution, left, line = np.zeros(right.shape), right.copy(), right.copy()
    power, before, curved = np.vecdot(left, left), np.ones(len(right)), np.zeros(right.shape)
    for _ in range(_MAX_PRODUCTS):
        weighted = root * line
        product = gram_product(weighted) + (weighted.sum(1) / corner)[:, None]
        curved, previous = line + root * product, curved
        # The squared residual of the features' system; `left` is the residual of the examples'.
        remains = np.vecdot(left, curved - (power / before)[:, None] * previous) - power
        stays = remains > _RESIDUAL**2 * goal
        if not stays.all():
            found[live[~stays]] = solution[~stays]
            live, root, corner, goal, power = (
                array[stays] for array in (live, root, corner, goal, power)
            )
            solution, left, line, curved = (
                array[stays] for array in (solution, left, line, curved)
            )
            if not len(live):
                break
        curvature = np.vecdot(line, curved)
        step = (power / np.where(curvature > 0, curvature, np.inf))[:, None]
        solution += step * line
        left -= step * curved
        before, power = power, np.vecdot(left, left)
        before = np.where(before > 0, before, 1)
        line *= (power / before)[:, None]
        line += left
    found[live] = solution
    return found, live


def solve_positive(
    system: np.ndarray, ridge: np.ndarray, right: np.ndarray, dtype: Any
) -> np.ndarray:
    """Solves a system with a positive definite matrix plus a diagonal, by Cholesky factorization.

    The lower triangle of the float64 matrix is read, and overwritten. It is scaled to a unit
    diagonal and factored in `dtype`. If rounding has made it indefinite, it is factored in float64
    with increasing amounts added to the diagonal; the result is NaN if that fails.
    """
    n = len(system)
    diagonal = np.diagonal(system) + ridge
    system[np.diag_indices(n)] = diagonal
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(diagonal > 0, 1 / np.sqrt(diagonal), 0)
    system *= scale[:, None]
    system *= scale
    for kind, jitter in [(dtype, 0.0)] + [(np.float64, n * 10.0**-e) for e in (16, 14, 12, 10, 8)]:
        matrix = np.array(system, kind, order="C")
        matrix[np.diag_indices(n)] = 1 + jitter
        try:
            factor = scipy.linalg.cholesky(
                matrix.T, lower=False, overwrite_a=True, check_finite=False
            )
        except np.linalg.LinAlgError:
            continue
        found = scipy.linalg.cho_solve(
            (factor, False), (scale * right).astype(kind), check_finite=False
        )
        if np.isfinite(found).all():
            return scale * found.astype(np.float64)
    return np.full(n, np.nan)
