"""Newton directions of linear problems.

With few features, the second derivative is a Gram matrix of the examples within the margin. Few of
them change from step to step, and only those are added and subtracted. With many features, the
system is transformed by Woodbury's formula into one over the examples within the margin, which is
solved by conjugate gradients, or by Cholesky factorization if these are slow.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from jaxml.svm._threads import for_each
from jaxml.svm.linear._examples import Examples, SparseExamples
from jaxml.svm.linear._problems import is_squared
from jaxml.svm.linear._scaled import Evaluation, ScaledProblems

# The largest Newton systems that are factored: over features, or else over examples.
_MAX_FEATURES, _MAX_EXAMPLES = 2048, 4096
# Products of conjugate gradients, and the relative residual at which they stop.
_MAX_PRODUCTS, _RESIDUAL = 100, 0.1


def is_direct(examples: Examples) -> bool:
    """Returns whether Newton systems are solved over the features."""
    return examples.num_features <= _MAX_FEATURES


class MarginSystems(NamedTuple):
    r"""Newton systems over examples, with the matrices $I + R (X X^\top + 1 / c) R$."""

    root: np.ndarray  # `[systems, examples]`: square roots of the slopes, the diagonals of R
    right: np.ndarray  # `[systems, examples]`: the right-hand sides
    corner: np.ndarray  # `[systems]`: c, the curvature of the intercept
    goal: np.ndarray  # `[systems]`: squared norms of the right-hand sides of the features' systems

    def select(self, j: np.ndarray, index: np.ndarray) -> "MarginSystems":
        """Selects some systems and some of their examples."""
        both = np.ix_(j, index)
        return MarginSystems(self.root[both], self.right[both], self.corner[j], self.goal[j])


class NewtonSystem:
    """The second derivatives of problems, updated from step to step."""

    def __init__(self, scaled: ScaledProblems) -> None:
        self.scaled, self.examples = scaled, scaled.examples
        shape = scaled.problems.target.shape
        self._is_direct = is_direct(scaled.examples)
        self._gram: list[np.ndarray | None] = [None] * shape[0]
        self._gram_slope = np.zeros(shape if self._is_direct else (0, 0))

    def direction(self, now: Evaluation, penalty: np.ndarray) -> np.ndarray:
        """Returns descent directions, `[problems, features + 1]`."""
        scaled = self.scaled
        solve = self._solve_features if self._is_direct else self._solve_examples
        found = -solve(now, now.gradient, penalty)
        if scaled.is_shifted:
            # The rank-one term of the regularizer, by the Sherman-Morrison formula.
            across = np.broadcast_to(scaled.along, found.shape)
            other = solve(now, across, penalty)
            with np.errstate(divide="ignore"):
                flat = 1 / scaled.problems.intercept_penalty[now.indices]
            ratio = (found @ scaled.along) / (flat + other @ scaled.along)
            found -= ratio[:, None] * other
        downhill = np.einsum("kd,kd->k", found, now.gradient) < 0
        for j in np.flatnonzero(~(downhill & np.isfinite(found).all(1))):
            found[j] = self._scaled_gradient(now, j)
        return found

    def _scaled_gradient(self, now: Evaluation, j: Any) -> np.ndarray:
        """The fallback: minus the gradient over an upper bound of the diagonal."""
        scaled, k = self.scaled, now.indices[j]
        gram, along, slope = self._gram[k], scaled.along, now.slope[j]
        curvature = scaled.diagonal + scaled.rho[k] * np.square(along)
        curvature[-1] += scaled.corner[k]
        curvature += slope.sum() if gram is None else slope.max() * np.diag(gram)
        found = -now.gradient[j] / curvature
        if np.isinf(scaled.problems.intercept_penalty[k]):  # the original intercept stays at 0
            across = along / curvature
            found -= (along @ found) / (along @ across) * across
        return found

    def _solve_features(
        self, now: Evaluation, right: np.ndarray, penalty: np.ndarray
    ) -> np.ndarray:
        """Solves the systems over the features, without the rank-one term."""
        scaled, found = self.scaled, np.zeros(right.shape)
        for j, k in enumerate(now.indices):
            unit = 1.0 if is_squared(scaled.loss) else penalty[k]
            system = unit * self._update_gram(k, now.slope[j] / unit).astype(np.float64)
            ridge = scaled.diagonal.copy()
            ridge[-1] = scaled.corner[k]
            found[j] = _solve_positive(system, ridge, right[j], scaled.dtype)
        return found

    def _update_gram(self, k: Any, slope: np.ndarray) -> np.ndarray:
        """Adds the examples whose slope has changed, or recomputes the matrix if that is less."""
        gram, dtype = self._gram[k], self.scaled.dtype
        change = slope - self._gram_slope[k]
        if gram is not None and not change.any():
            return gram
        if gram is None and (shared := self._find_gram(slope)) is not None:
            self._gram[k], self._gram_slope[k] = shared, slope
            return shared
        if gram is None or np.count_nonzero(slope) < np.count_nonzero(change):
            gram, change = np.zeros((self.examples.num_features + 1,) * 2, dtype), slope
        with self.scaled.blas():
            gram = self.examples.add_gram(gram, change.astype(dtype))
        self._gram[k], self._gram_slope[k] = gram, slope
        return gram

    def _find_gram(self, slope: np.ndarray) -> np.ndarray | None:
        """The first matrix, if it has the same slopes: initially those of all problems agree."""
        for k, gram in enumerate(self._gram):
            if gram is not None:
                return gram if np.array_equal(self._gram_slope[k], slope) else None
        return None

    def _solve_examples(self, now: Evaluation, right: np.ndarray, _: np.ndarray) -> np.ndarray:
        """Solves the systems by Woodbury's formula, without the rank-one term."""
        scaled, examples = self.scaled, self.examples
        ridge = np.tile(scaled.diagonal, (len(right), 1))
        ridge[:, -1] = corner = scaled.corner[now.indices]
        start = right / ridge
        root = np.sqrt(now.slope)
        goal = np.einsum("kd,kd->k", start, right)
        systems = MarginSystems(root, root * scaled.decisions(start), corner, goal)
        is_sparse = isinstance(examples, SparseExamples) and examples.on_host
        solve = self._solve_sparse_margin if is_sparse else self._solve_margin
        weighted = root * solve(systems)
        start[:, :-1] -= scaled.weighted_sums(weighted)
        start[:, -1] -= weighted.sum(1) / corner
        return start

    def _solve_margin(self, systems: MarginSystems) -> np.ndarray:
        """Solves the systems by products with all examples."""
        examples, dtype, root = self.examples, self.scaled.dtype, systems.root
        found, slow = np.zeros(root.shape), np.arange(len(root))
        if (np.count_nonzero(root, axis=1) > _MAX_EXAMPLES).any():
            found, slow = conjugate_gradients(
                lambda dual: examples.products(examples.weighted_sums(dual.astype(dtype))), systems
            )
        for j in slow:
            solve_slow(examples, systems, j, found)
        return found

    def _solve_sparse_margin(self, systems: MarginSystems) -> np.ndarray:
        """Solves the systems in threads, each with the examples within its own margin."""
        found, examples = np.zeros(systems.root.shape), self.examples
        assert isinstance(examples, SparseExamples)

        def solve(j: int) -> None:
            index = np.flatnonzero(systems.root[j])
            product = examples.gram_product(index, self.scaled.dtype)
            found[j, index], slow = conjugate_gradients(
                product, systems.select(np.array([j]), index)
            )
            if len(slow):
                solve_slow(examples, systems, j, found)

        for_each(solve, range(len(found)))
        return found


def conjugate_gradients(
    gram_product: Callable[[np.ndarray], np.ndarray], systems: MarginSystems
) -> tuple[np.ndarray, np.ndarray]:
    r"""Solves several systems, where `gram_product` multiplies by $X X^\top$.

    The residual of the features' systems determines when to stop.

    Returns:
      The solutions, and the indices of the systems that did not converge.
    """
    root, right, corner, goal = systems
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
            live = live[stays]
            root, corner, goal, power, solution, left, line, curved = (
                array[stays] for array in (root, corner, goal, power, solution, left, line, curved)
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


def solve_slow(examples: Examples, systems: MarginSystems, j: Any, found: np.ndarray) -> None:
    """Solves system j by Cholesky factorization and sets `found[j]`, unless it is too large."""
    index = np.flatnonzero(systems.root[j])
    if 0 < len(index) <= _MAX_EXAMPLES:
        root = systems.root[j, index]
        gram = examples.example_gram(index).astype(np.float64, copy=False)
        gram += 1 / systems.corner[j]
        gram *= root[:, None] * root
        right, ridge = systems.right[j, index], np.ones(len(root))
        found[j, index] = _solve_positive(gram, ridge, right, np.float64)


def _solve_positive(
    system: np.ndarray, ridge: np.ndarray, right: np.ndarray, dtype: Any
) -> np.ndarray:
    """Solves a system with a positive definite matrix plus a diagonal, by Cholesky factorization.

    The lower triangle of the float64 matrix is read, and overwritten. It is scaled to a unit
    diagonal and factored in `dtype`. If rounding has made it indefinite, it is factored in float64
    with increasing amounts added to the diagonal; the result is NaN if that fails.
    """
    n = len(system)
    diagonal = np.diagonal(system) + ridge
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
