"""Starting points of the linear solvers."""

import numpy as np

from jaxml.svm.linear._examples import Examples
from jaxml.svm.linear._problems import LinearProblems, is_classification, is_squared
from jaxml.svm.linear._solution import LinearState
from jaxml.svm.linear._sparse import SparseExamples


def zero_state(problems: LinearProblems, examples: Examples, loss: str) -> LinearState:
    """Returns zero weights, with an intercept that predicts the larger class if that is better.

    At that intercept the examples of the larger class lie on the margin, so that the first steps
    of sparse problems involve those of the smaller class only.
    """
    count = len(problems.target)
    intercept = np.zeros(count)
    if is_classification(loss) and isinstance(examples, SparseExamples):
        positive = (problems.cost * (problems.target > 0)).sum(1)
        negative = (problems.cost * (problems.target < 0)).sum(1)
        growth = 4.0 if is_squared(loss) else 2.0  # the loss at the margin of the other class
        value = growth * np.minimum(positive, negative) + problems.intercept_penalty / 2
        larger = np.where(positive > negative, 1.0, -1.0)
        intercept = np.where(value < positive + negative, larger, intercept)
    return state_at(problems, np.zeros((count, examples.num_features)), intercept, loss)


def state_at(
    problems: LinearProblems, weights: np.ndarray, intercept: np.ndarray, loss: str
) -> LinearState:
    """Returns a state with given weights, zero multipliers and the initial penalty."""
    penalty = 0.5 * penalty_unit(problems, loss)
    return LinearState(weights, intercept, np.zeros(problems.target.shape), penalty)


def penalty_unit(problems: LinearProblems, loss: str) -> np.ndarray:
    """Returns the penalty `[problems]` at which a typical residual takes beta to its bound."""
    cost = problems.cost.max(1)
    typical = np.ones(len(cost))
    if not is_classification(loss):
        used = problems.cost > 0
        number = np.maximum(used.sum(1), 1)
        mean = (problems.target * used).sum(1) / number
        typical = (np.abs(problems.target - mean[:, None]) * used).sum(1) / number
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        unit = cost / typical
    return np.where(np.isfinite(unit) & (unit > 0), unit, 1)


def subsample(problems: LinearProblems, num_examples: int) -> tuple[LinearProblems, np.ndarray]:
    """Draws an eighth of the examples and returns their problems and indices.

    A subsample is too easily separable at the full C, so C is reduced.
    """
    index = np.sort(np.random.default_rng(0).permutation(num_examples)[: num_examples // 8])
    cost = 0.1 * problems.cost[:, index]
    return problems._replace(target=problems.target[:, index], cost=cost), index
