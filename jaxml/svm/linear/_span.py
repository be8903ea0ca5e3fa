r"""Newton's method over the dual variables, for sparse examples with more features than examples.

The optimal weights are $w = X^\top \beta$, the intercept is the sum of $\beta$ over $\rho$. With
$Q = X X^\top + 1 / \rho$, the decision values are $Q \beta$, and a problem with a squared loss is

.. math:: \min_\beta \tfrac12 \beta^\top Q \beta + \sum_i \ell(t_i, (Q \beta)_i; c_i).

Its points have one number an example instead of one a feature, and a step needs two products with Q
besides those of conjugate gradients. Q itself is not computed: for text it has few zeros and costs
more than all these products. Problems are solved in threads, in blocks that share products.

Source: Chapelle, "Training a support vector machine in the primal", 2007.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from jaxml.svm._threads import for_each
from jaxml.svm.linear._examples import SparseExamples
from jaxml.svm.linear._newton_system import (
    MarginSystems,
    conjugate_gradients,
    is_direct,
    solve_slow,
)
from jaxml.svm.linear._problems import LinearProblems, is_squared
from jaxml.svm.linear._solution import Limits, LinearProgress, LinearSolution, LinearState, Stall

# Problems with more than this ratio of the examples within the margin share products with all of
# the examples, in blocks of at most so many problems.
_SHARED, _BLOCK = 0.4, 16
# A primal that is this far below the dual, relative to the primal, is lost to rounding.
_INACCURATE = -1e-6
# Examples with larger values are multiplied in float64.
_LARGEST = 1e9


def is_spanned(problems: LinearProblems, examples: SparseExamples, loss: str) -> bool:
    """Returns whether `solve_span` applies, and pays: points over the features are larger."""
    if not (examples.on_host and is_squared(loss)):
        return False
    is_wide = examples.num_features > examples.num_examples and not is_direct(examples)
    return is_wide and bool((problems.intercept_penalty > 0).all())


def solve_span(
    problems: LinearProblems,
    examples: SparseExamples,
    loss: str,
    limits: Limits,
    intercept: np.ndarray,
) -> LinearSolution:
    """Implements `jaxml.svm.linear.solve`, in float32 first and then in float64.

    It starts from the dual variables that the sign of an intercept `[problems]` allows, and whose
    sum leads to that intercept.
    """
    newton, interrupted = _SpanNewton(problems, examples, loss), False
    used = (problems.target * intercept[:, None] > 0) & (problems.cost > 0)
    rho = problems.intercept_penalty
    total = intercept * np.where(np.isfinite(rho), rho, 0)
    newton.best += used * (total / np.maximum(used.sum(1), 1))[:, None]
    largest = np.abs(examples.x.data).max(initial=0)
    try:
        for dtype in [np.float32, np.float64][int(largest > _LARGEST) :]:
            newton.run(dtype, limits)
            if newton.is_solved(limits) or newton.progress.steps >= limits.max_steps:
                break
    except KeyboardInterrupt:
        interrupted = True
    beta = newton.best
    intercept = beta.sum(1) / problems.intercept_penalty
    state = LinearState(
        examples.weighted_sums(beta), intercept, newton.dual, np.ones(len(intercept))
    )
    return LinearSolution(state, newton.progress, newton.is_solved(limits), interrupted)


class _SpanNewton:
    """The points of all problems, `[problems, examples]` each, and the best of them."""

    def __init__(self, problems: LinearProblems, examples: SparseExamples, loss: str) -> None:
        self.examples, self.losses = examples, problems.losses(loss)
        self.corner, shape = problems.intercept_penalty, problems.target.shape
        self.beta, self.decision = np.zeros(shape), np.zeros(shape)
        # The dual variables at the decision values, their decision values, and the curvatures.
        self.target, self.target_decision, self.slope = (np.zeros(shape) for _ in range(3))
        self.best, self.dual = np.zeros(shape), np.zeros(shape)
        infinite = np.full(len(problems.target), np.inf)
        self.progress = LinearProgress(0, infinite, -infinite)

    def is_solved(self, limits: Limits) -> bool:
        """Returns whether all gaps are within the tolerance."""
        return bool(limits.solved(self.progress).all())

    def run(self, dtype: Any, limits: Limits) -> None:
        """Iterates with products in `dtype` until convergence, stalling or the step limit."""
        self.dtype, stall = dtype, Stall(20)
        self.product = self.examples.gram_product(np.arange(self.examples.num_examples), dtype)
        self.beta = self.best.copy()
        # The objectives of the last dtype are inaccurate.
        infinite = np.full(len(self.beta), np.inf)
        self.progress = LinearProgress(self.progress.steps, infinite, -infinite)
        unsolved = np.arange(len(self.beta))
        _for_blocks(self._start, unsolved)
        while True:
            _for_blocks(self._evaluate, unsolved)
            if (wrong := self.progress.relative_gap < _INACCURATE).any():
                self.best[wrong], self.progress.primal[wrong] = 0, np.inf
                return
            limits.notify(self.progress, self.dual)
            unsolved = np.flatnonzero(~limits.solved(self.progress))
            ended = self.progress.steps >= limits.max_steps
            if not len(unsolved) or ended or stall.update(self.progress):
                return
            _for_blocks(self._step, unsolved)
            self.progress = replace(self.progress, steps=self.progress.steps + 1)

    def _multiply(self, k: np.ndarray, dual: np.ndarray) -> np.ndarray:
        """Computes the decision values of the problems k at `[len(k), examples]`."""
        return self.product(dual) + (dual.sum(1) / self.corner[k])[:, None]

    def _start(self, k: np.ndarray) -> None:
        self.decision[k] = self._multiply(k, self.beta[k])

    def _evaluate(self, k: np.ndarray) -> None:
        """Computes the objectives of the problems k, and keeps the best points."""
        for i in k:
            self.target[i], self.slope[i] = self.losses[i].update_dual(
                self.decision[i], self.target[i], 1.0
            )
        self.target_decision[k] = self._multiply(k, self.target[k])
        primal, dual = self.progress.primal, self.progress.dual
        for i in k:
            value = self.losses[i].primal(self.decision[i]) + self.beta[i] @ self.decision[i] / 2
            if value < primal[i]:
                primal[i], self.best[i] = value, self.beta[i]
            value = self.losses[i].dual(self.target[i])
            value -= self.target[i] @ self.target_decision[i] / 2
            if value > dual[i]:
                dual[i], self.dual[i] = value, self.target[i]

    def _step(self, k: np.ndarray) -> None:
        """Moves the problems k to the minimum along their Newton directions."""
        left, gradient = self.beta[k] - self.target[k], self.decision[k] - self.target_decision[k]
        root = np.sqrt(self.slope[k])
        # Rounding can make the squared norm of the gradient negative.
        least = np.finfo(self.dtype).eps * np.vecdot(self.beta[k], self.decision[k])
        goal = np.maximum(np.vecdot(left, gradient), least)
        found = root * self._solve(MarginSystems(root, root * gradient, self.corner[k], goal))
        direction, change = found - left, self._multiply(k, found) - gradient
        for j, i in enumerate(k):
            step = self.losses[i].line_search(
                self.decision[i], change[j], self.target[i], 1.0,
                float(direction[j] @ self.decision[i]), float(direction[j] @ change[j]),
            )  # fmt: skip
            self.beta[i] += step * direction[j]
            self.decision[i] += step * change[j]

    def _solve(self, systems: MarginSystems) -> np.ndarray:
        """Solves Newton systems over the examples within the margins."""
        root, found = systems.root, np.zeros(systems.root.shape)
        shares = np.count_nonzero(root, axis=1) > _SHARED * root.shape[1]

        def solve(j: np.ndarray, index: np.ndarray, product: Callable[..., np.ndarray]) -> None:
            value, slow = conjugate_gradients(product, systems.select(j, index))
            found[j[:, None], index] = value
            for i in j[slow]:
                solve_slow(self.examples, systems, i, found)

        if shares.any():
            solve(np.flatnonzero(shares), np.arange(root.shape[1]), self.product)
        for j in np.flatnonzero(~shares):
            index = np.flatnonzero(root[j])
            solve(np.array([j]), index, self.examples.gram_product(index, self.dtype))
        return found


def _for_blocks(function: Callable[[np.ndarray], None], problems: np.ndarray) -> None:
    """Calls a function with blocks of the problems, in threads."""
    count = min(len(problems), 2 * -(-len(problems) // (2 * _BLOCK)))
    for_each(function, np.array_split(problems, count))
