"""Decomposition of many dual problems on the device.

In each round, every unsolved problem selects a working set, the missing rows of the kernel matrix
are computed as one matrix product, the working sets are solved, and the scores of all variables are
updated. One-vs-one problems share the rows of their examples, and memory is bounded by the cache.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.svm._threads import for_each
from jaxml.svm.kernel import _working_set
from jaxml.svm.kernel._problems import DualProblems, KernelProgress, Variables
from jaxml.svm.kernel._row_cache import RowCache
from jaxml.svm.kernels import Kernel
from jaxml.types import Array

# On CPU, more problems than this are solved in blocks of the second size, in threads. All blocks
# have one size, because compiling another program takes more than a second.
_LARGEST_CPU_BLOCK, _CPU_BLOCK = 64, 32


@dataclass(frozen=True)
class DeviceSolution:
    """The fields of `KernelSolution` in the dtype of the examples, and the final progress."""

    value: np.ndarray
    score: np.ndarray
    rounds: np.ndarray
    progress: KernelProgress
    interrupted: bool

    @property
    def converged(self) -> bool:
        """Returns whether the violation of every problem is within the tolerance."""
        return not self.progress.num_unsolved


class DeviceSolver:
    """Problems of one kernel, with working sets of `size` variables and a cache of `memory` bytes.

    The other arguments are those of `jaxml.svm.kernel.solve`, with `examples` `[columns, ...]`.
    """

    def __init__(
        self,
        problems: DualProblems,
        kernel: Kernel,
        examples: Array,
        starts: np.ndarray,
        *,
        memory: float = 2e9,
        size: int | None = None,
    ) -> None:
        count, k, columns = self._shape = problems.sign.shape
        self._group_size = columns // problems.groups.shape[1]
        self._starts = np.asarray(starts, np.int32)[problems.groups]
        self._size = min(size or _default_size(count), k * columns)
        self._new_cache = partial(RowCache, kernel, examples, memory=memory, least=self._size)
        self._cache = self._new_cache()
        sign, self._linear, upper = (
            jnp.asarray(array.reshape(count, -1), examples.dtype) for array in problems[1:4]
        )
        zero = jnp.zeros_like(sign)
        self._start = Variables(zero, zero, sign, upper, problems.two_constraints)
        self._most = max(1, self._cache.num_slots // self._size)
        self._device = next(iter(examples.devices()))
        self._x64 = jax.dtypes.canonicalize_dtype(np.float64) == np.float64
        self._is_compiled = False
        self._on_cpu = self._device.platform == "cpu"
        self._block = min(count, 8)
        if self._on_cpu:
            self._block = count if count <= _LARGEST_CPU_BLOCK else _CPU_BLOCK

    def run(
        self,
        start: np.ndarray | None = None,
        *,
        tolerance: float = 1e-3,
        max_rounds: int | None = None,
        report: Callable[[KernelProgress], None] | None = None,
    ) -> DeviceSolution:
        """Iterates until convergence, stalling, the limit of rounds or an interruption."""
        state, num_variables = self._start, self._linear.shape[1]
        if start is not None:
            value = jnp.asarray(start.reshape(self._linear.shape), self._linear.dtype)
            state = replace(state, value=value)
        # Any variables, so that the first round has the shapes of the others.
        spread = np.linspace(0, num_variables, self._size // 2, endpoint=False)
        old = np.tile(spread.astype(np.int32), (self._shape[0], 1))
        rounds, steps, count = np.zeros(self._shape[0], int), 0, 0
        is_exact = interrupted = False
        stall = _Stall(patience=5 if self._size == num_variables else 100)
        try:
            state, is_exact = self._recompute_scores(state), True
            while True:
                chosen, spare, excess, progress = self._survey(state, old, count, steps, tolerance)
                if report:
                    report(self._count_support(state, progress))
                if not progress.num_unsolved:
                    if is_exact:
                        break
                    # The updated scores satisfy the tolerance; verify without their rounding.
                    state, is_exact = self._recompute_scores(state), True
                    continue
                if count == max_rounds or stall.update(progress):
                    break
                unsolved = np.flatnonzero(~(excess <= tolerance))
                goal = np.full_like(excess, 0.5 * tolerance)
                if self._size < num_variables:
                    goal = np.maximum(0.1 * excess, goal)
                state, most = self._round(state, chosen, spare, unsolved, goal)
                old = chosen[:, : self._size // 2]
                rounds[unsolved] += 1
                count, steps, is_exact = count + 1, steps + most, False
        except KeyboardInterrupt:
            interrupted = True
            del self._cache  # it may be in an inconsistent state
            self._cache = self._new_cache()
        if not is_exact:
            state = self._recompute_scores(state)
        *_, progress = self._survey(state, old, count, steps, tolerance)
        value, score = (np.asarray(a).reshape(self._shape) for a in (state.value, state.score))
        return DeviceSolution(value, score, rounds, progress, interrupted)

    def _survey(
        self, state: Variables, old: np.ndarray, rounds: int, steps: int, tolerance: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, KernelProgress]:
        """The next working sets, prefetch candidates, the violations, and the progress."""
        found = _working_set.survey(state, self._linear, old, size=self._size)
        chosen, spare, excess, objective = map(np.asarray, found)
        total = float(objective.astype(np.float64).sum())
        unsolved = int((~(excess <= tolerance)).sum())  # NaN is not solved
        progress = KernelProgress(rounds, steps, float(excess.max()), total, unsolved)
        return chosen, spare, excess, progress

    def _count_support(self, state: Variables, progress: KernelProgress) -> KernelProgress:
        """Adds the statistics that are computed for reports only."""
        gap = np.asarray(_working_set.gaps(state), np.float64)
        problem, variable = np.nonzero(np.asarray(state.value))
        examples = np.unique(self._example_of(variable[:, None], problem))
        return replace(progress, gap=float(gap.sum()), num_support=len(examples))

    def _round(
        self,
        state: Variables,
        chosen: np.ndarray,
        spare: np.ndarray,
        unsolved: np.ndarray,
        goal: np.ndarray,
    ) -> tuple[Variables, int]:
        """Solves a working set of each unsolved problem; returns the most steps of any."""
        value, score = np.array(state.value), np.array(state.score)
        now = replace(jax.tree.map(np.asarray, state), value=value, score=score)
        most = []

        def advance(block: np.ndarray) -> None:
            index = _padded(block, fill=int(block[0]), least=self._block, most=len(chosen))
            is_new = np.arange(len(index)) < len(block)
            examples = self._example_of(chosen[index], index)
            with jax.default_device(self._device), jax.enable_x64(self._x64):
                *found, steps = _working_set.advance(
                    self._cache.rows,
                    jax.tree.map(lambda array: jnp.asarray(array[index]), now),
                    chosen[index],
                    self._starts[index],
                    self._cache.slots(examples),
                    examples,
                    np.where(is_new, goal[index], np.inf).astype(value.dtype),
                    k=self._shape[1],
                )
            value[block], score[block] = (np.asarray(array)[: len(block)] for array in found)
            most.append(int(steps))

        for part in _parts(unsolved, self._most):
            examples = self._example_of(chosen[part], part)
            self._cache.hold(examples, self._example_of(spare[part], part))
            blocks = _parts(part, self._block if self._on_cpu else len(part))
            if not self._is_compiled:
                advance(blocks[0])
                self._is_compiled, blocks = True, blocks[1:]
            for_each(advance, blocks, threads=self._on_cpu)
        return replace(state, value=jnp.asarray(value), score=jnp.asarray(score)), max(most)

    def _example_of(self, variables: np.ndarray, problems: np.ndarray) -> np.ndarray:
        """`[problems, ...]`: the column of the matrix of each variable."""
        column = variables % self._shape[2]
        start = np.take_along_axis(self._starts[problems], column // self._group_size, axis=1)
        return start + (column % self._group_size).astype(np.int32)

    def _recompute_scores(self, state: Variables) -> Variables:
        """Computes the scores from the values, without the rounding errors of the updates."""
        weight = (np.asarray(state.sign) * np.asarray(state.value)).reshape(self._shape).sum(1)
        problem, column = np.nonzero(weight)
        example = self._example_of(column[:, None], problem)[:, 0]
        products = np.zeros_like(weight)
        for rows in _parts(np.unique(example), min(self._cache.num_slots, 1024)):
            self._cache.hold(rows)
            index = _padded(rows, fill=int(rows[0]), least=128)
            here = np.isin(example, rows)
            part = np.zeros((len(weight), len(index)), weight.dtype)
            place = np.searchsorted(rows, example[here])
            part[problem[here], place] = weight[problem[here], column[here]]
            found = _working_set.products(
                self._cache.rows, self._cache.slots(index), part, self._starts,
                size=self._group_size,
            )  # fmt: skip
            products += np.asarray(found)
        return replace(state, score=_working_set.scores(state, self._linear, products))


@dataclass
class _Stall:
    """Detects that neither the violation nor the objective has decreased for some rounds."""

    patience: int
    violation: float = math.inf
    objective: float = math.inf
    waited: int = 0

    def update(self, progress: KernelProgress) -> bool:
        less = progress.violation < 0.95 * self.violation
        lower = progress.objective < self.objective - 1e-5 * abs(self.objective)
        self.waited = 0 if less or lower or math.isinf(self.violation) else self.waited + 1
        self.violation = min(self.violation, progress.violation)
        self.objective = min(self.objective, progress.objective)
        return self.waited >= self.patience


def _default_size(num_problems: int) -> int:
    """Returns the size of working sets, which is smaller for many concurrent problems."""
    return 1024 if num_problems == 1 else max(128, 2 ** round(math.log2(4096 / num_problems)))


def _parts(items: np.ndarray, size: int) -> list[np.ndarray]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _padded(items: np.ndarray, *, fill: int, least: int, most: int | None = None) -> np.ndarray:
    """Pads to the next power of two, at most `most`, so that few programs are compiled."""
    size = max(1 << (len(items) - 1).bit_length(), least)
    size = size if most is None else min(size, most)
    return np.pad(items, (0, size - len(items)), constant_values=fill)
