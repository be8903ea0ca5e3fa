r"""Support vector machines with kernels: the exact dual, many problems at once.

All problems have one kernel, `jaxml.svm.kernel.working_set` says which form. In rounds, each
problem that is not yet solved chooses a working set, the rows of the kernel that are missing are
computed as one product of matrices, the working sets are solved, and the scores of all variables
follow. So the work is almost all products, one-vs-one problems share the rows of their examples,
and memory is what the cache is given.

An example is a column; `jaxml.svm.kernel.columns` says which stand in a group, and a problem sees
the columns of some groups: one-vs-one problems of two classes each those of two, others those of
the only one. A problem has one variable a column, or two, as regression has for the errors in both
directions.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.svm._threads import for_each
from jaxml.svm.kernel import working_set
from jaxml.svm.kernel.cache import KernelCache
from jaxml.svm.kernel.working_set import Variables
from jaxml.svm.kernels import Kernel
from jaxml.types import Array

# How many variables that may be chosen next are told, a problem and direction.
SPARE = 8
# On CPU more problems than this are solved in blocks of the second size, in threads. All blocks
# have one size, because another program takes more than a second to compile.
_LARGEST_CPU_BLOCK, _CPU_BLOCK = 64, 32


class DualProblems(NamedTuple):
    """Problems over the columns of some groups, with one or two variables a column.

    Attributes:
      groups: `[problems, groups of each]` integers: whose columns it sees.
      sign: `[problems, sides, columns]`: y, -1 or 1.
      linear: `[problems, sides, columns]`: p.
      upper: `[problems, sides, columns]`: u; 0 for what is no variable.
      two_families: whether the sum over each sign is held, not the signed sum of all.
    """

    groups: np.ndarray
    sign: np.ndarray
    linear: np.ndarray
    upper: np.ndarray
    two_families: bool = False


@dataclass(frozen=True)
class Progress:
    """Where a solver stands.

    Attributes:
      rounds: how many working sets were solved.
      steps: pairs of variables moved, of the problem with the most in each round.
      violation: the largest of all problems.
      objective: of the dual, to be minimised, summed over the problems.
      num_unsolved: problems that violate by more than the tolerance.
      gap: of primal and dual, summed over the problems, in what is reported.
      num_support: examples that count in a solution, in what is reported.
    """

    rounds: int
    steps: int
    violation: float
    objective: float
    num_unsolved: int
    gap: float = math.nan
    num_support: int = 0


@dataclass(frozen=True)
class DualSolution:
    """The variables at the end.

    Attributes:
      value: `[problems, sides, columns]`.
      score: `[problems, sides, columns]`: minus the sign times the gradient, computed afresh from
        the values; 0 for what is no variable.
      threshold: `[families, problems]`: the score that parts what may rise from what may fall.
      rounds: `[problems]`: how many working sets of each were solved.
      progress: the last.
      converged: whether no problem violates by more than the tolerance.
      interrupted: whether the run was stopped by the keyboard.
      stalled: whether it ended because the digits of the dtype hold no better values.
    """

    value: np.ndarray
    score: np.ndarray
    threshold: np.ndarray
    rounds: np.ndarray
    progress: Progress
    converged: bool
    interrupted: bool
    stalled: bool


def solve(
    problems: DualProblems,
    kernel: Kernel,
    examples: Array,
    starts: np.ndarray,
    *,
    start: np.ndarray | None = None,
    tolerance: float = 1e-3,
    max_rounds: int | None = None,
    memory: float = 2e9,
    working_set_size: int | None = None,
    report: Callable[[Progress], None] | None = None,
) -> DualSolution:
    """Solves all problems until none violates by more than the tolerance.

    Args:
      problems: of one kernel.
      kernel: of two sets of examples.
      examples: `[columns, ...]`.
      starts: `[groups]`: the first column of each group.
      start: `[problems, sides, columns]` feasible values; None starts at zero.
      tolerance: of the violation, as libsvm's.
      max_rounds: after how many rounds it ends unsolved; None for as many as it takes.
      memory: bytes for rows of the kernel.
      working_set_size: variables a problem and round.
      report: is told after each round where it stands.

    Returns:
      The solution, or how far it came: within `max_rounds`, until the keyboard interrupted it, or
      until rounds no longer changed anything for the better.

    Raises:
      InputError: the memory does not hold one working set.
    """
    solver = _Solver(problems, kernel, examples, starts, memory=memory, size=working_set_size)
    return solver.run(start, tolerance, max_rounds, report)


class _Solver:
    """What stays the same from round to round, and the cache."""

    def __init__(
        self,
        problems: DualProblems,
        kernel: Kernel,
        examples: Array,
        starts: np.ndarray,
        *,
        memory: float,
        size: int | None,
    ) -> None:
        dtype = examples.dtype
        count, sides, columns = problems.sign.shape
        self.shape = problems.sign.shape
        self.two_families = problems.two_families
        self.groups = np.asarray(problems.groups, np.int32)
        self.num_groups = len(starts)
        self.group_size = columns // self.groups.shape[1]
        self.starts = np.asarray(starts, np.int32)[self.groups]
        self.size = min(size or _good_size(count), sides * columns)
        self.new_cache = partial(KernelCache, kernel, examples, memory=memory, least=self.size)
        self.cache = self.new_cache()
        self.sign, self.linear, self.upper = (
            jnp.asarray(part.reshape(count, -1), dtype) for part in problems[1:4]
        )
        self.most_at_once = max(1, self.cache.num_slots // self.size)
        self.device = next(iter(examples.devices()))
        self.on_cpu = self.device.platform == "cpu"
        self.x64 = jax.dtypes.canonicalize_dtype(np.float64) == np.float64
        self.is_compiled = False
        self.block = min(count, 8)
        if self.on_cpu:
            self.block = count if count <= _LARGEST_CPU_BLOCK else _CPU_BLOCK

    def run(
        self,
        start: np.ndarray | None,
        tolerance: float,
        max_rounds: int | None,
        report: Callable[[Progress], None] | None,
    ) -> DualSolution:
        """Rounds until solved, stopped or told to end."""
        value = jnp.zeros_like(self.sign)
        if start is not None:
            value = jnp.asarray(start.reshape(value.shape), value.dtype)
        state = Variables(value, jnp.zeros_like(value), self.sign, self.upper)
        # Any variables at first, so that the first round has the shapes of the others.
        spread = np.linspace(0, value.shape[1], self.size // 2, endpoint=False)
        old = np.tile(spread.astype(np.int32), (len(value), 1))
        rounds, steps = np.zeros(len(value), int), 0
        count, fresh, interrupted = 0, False, False
        stall = _Stall(patience=5 if self.size == value.shape[1] else 100)
        try:
            state, fresh = self.afresh(state), True
            while True:
                chosen, likely, excess, progress = self.look(state, old, count, steps, tolerance)
                if report:
                    report(self.tally(state, progress))
                if not progress.num_unsolved:
                    if fresh:
                        break
                    # So it is by the sums of all rounds: does it hold afresh?
                    state, fresh = self.afresh(state), True
                    continue
                if count == max_rounds or stall.seen(progress):
                    break
                unsolved = np.flatnonzero(~(excess <= tolerance))
                goal = self.goal(excess, tolerance)
                state, most = self.round(state, chosen, likely, unsolved, goal)
                old = chosen[:, : self.size // 2]
                rounds[unsolved] += 1
                count, steps, fresh = count + 1, steps + most, False
        except KeyboardInterrupt:
            interrupted = True
            del self.cache  # it may have been left half filled
            self.cache = self.new_cache()
        if not fresh:
            state = self.afresh(state)
        *_, progress = self.look(state, old, count, steps, tolerance)
        return DualSolution(
            value=np.asarray(state.value).reshape(self.shape),
            score=np.asarray(state.score).reshape(self.shape),
            threshold=np.asarray(working_set.thresholds(state, two_families=self.two_families)),
            rounds=rounds,
            progress=progress,
            converged=not progress.num_unsolved,
            interrupted=interrupted,
            stalled=stall.is_over and progress.num_unsolved > 0,
        )

    def look(
        self, state: Variables, old: np.ndarray, rounds: int, steps: int, tolerance: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, Progress]:
        """The next working sets, what may be next, the violations, and where it all stands."""
        chosen, likely, violation, objective = _choose(
            state, self.linear, old, size=self.size, two_families=self.two_families
        )
        excess = np.asarray(violation)
        total = float(np.asarray(objective, np.float64).sum())
        unsolved = int((~(excess <= tolerance)).sum())  # NaN is not solved
        return (
            np.asarray(chosen),
            np.asarray(likely),
            excess,
            Progress(rounds, steps, float(excess.max()), total, unsolved),
        )

    def tally(self, state: Variables, progress: Progress) -> Progress:
        """Where it all stands, with what only people want to know."""
        gap, support = _tally(
            state,
            self.groups,
            num_groups=self.num_groups,
            group_size=self.group_size,
            two_families=self.two_families,
        )
        total = float(np.asarray(gap, np.float64).sum())
        return replace(progress, gap=total, num_support=int(support))

    def goal(self, excess: np.ndarray, tolerance: float) -> np.ndarray:
        """The violation at which a working set is left: lower than what its problem has."""
        least = np.full_like(excess, 0.5 * tolerance)
        everything = self.size == self.sign.shape[1]
        return least if everything else np.maximum(0.1 * excess, least)

    def afresh(self, state: Variables) -> Variables:
        """The scores by the values alone, without the rounding errors of all rounds."""
        return state._replace(score=self.scores(np.asarray(state.value)))

    def round(
        self,
        state: Variables,
        chosen: np.ndarray,
        likely: np.ndarray,
        unsolved: np.ndarray,
        goal: np.ndarray,
    ) -> tuple[Variables, int]:
        """Solves a working set of each unsolved problem; returns the most steps of any."""
        value, score = np.array(state.value), np.array(state.score)
        sign, upper = np.asarray(state.sign), np.asarray(state.upper)
        most = []

        def advance(block: np.ndarray) -> None:
            index = _padded(block, fill=int(block[0]), least=self.block, most=len(chosen))
            is_new = np.arange(len(index)) < len(block)
            examples = self.example_of(chosen[index], index)
            with jax.default_device(self.device), jax.enable_x64(self.x64):
                *found, steps = _advance(
                    self.cache.rows,
                    Variables(*(jnp.asarray(a[index]) for a in (value, score, sign, upper))),
                    chosen[index],
                    self.starts[index],
                    self.cache.slots(examples),
                    examples,
                    np.where(is_new, goal[index], np.inf).astype(value.dtype),
                    sides=self.shape[1],
                    two_families=self.two_families,
                )
            value[block], score[block] = (np.asarray(array)[: len(block)] for array in found)
            most.append(int(steps))

        for part in _parts(unsolved, self.most_at_once):
            examples = self.example_of(chosen[part], part)
            self.cache.hold(examples, likely=self.example_of(likely[part], part))
            blocks = _parts(part, self.block if self.on_cpu else len(part))
            if not self.is_compiled:
                advance(blocks[0])
                self.is_compiled, blocks = True, blocks[1:]
            for_each(advance, blocks, threads=self.on_cpu)
        state = state._replace(value=jnp.asarray(value), score=jnp.asarray(score))
        return state, max(most)

    def example_of(self, variables: np.ndarray, problems: np.ndarray) -> np.ndarray:
        """The example of each variable, `[problems, ...]`."""
        column = variables % self.shape[2]
        start = np.take_along_axis(self.starts[problems], column // self.group_size, axis=1)
        return start + (column % self.group_size).astype(np.int32)

    def scores(self, value: np.ndarray) -> Array:
        """The scores of values, afresh: by one product with the rows of those that are not 0."""
        weight = (np.asarray(self.sign) * value).reshape(self.shape).sum(1)
        problem, column = np.nonzero(weight)
        example = self.example_of(column[:, None], problem)[:, 0]
        products = np.zeros_like(weight)
        for rows in _parts(np.unique(example), min(self.cache.num_slots, 1024)):
            self.cache.hold(rows)
            index = _padded(rows, fill=int(rows[0]), least=128)
            place = np.searchsorted(rows, example)
            here = rows[np.minimum(place, len(rows) - 1)] == example
            part = np.zeros((len(weight), len(index)), weight.dtype)
            part[problem[here], place[here]] = weight[problem[here], column[here]]
            slots = self.cache.slots(index)
            products += np.asarray(
                _products(self.cache.rows, slots, part, self.starts, size=self.group_size)
            )
        return _scores(self.sign, self.linear, self.upper, products)


@dataclass
class _Stall:
    """Notices that neither the violation nor the objective gets better for some rounds."""

    patience: int
    violation: float = math.inf
    objective: float = math.inf
    waited: int = 0

    @property
    def is_over(self) -> bool:
        return self.waited >= self.patience

    def seen(self, progress: Progress) -> bool:
        less = progress.violation < 0.95 * self.violation
        lower = progress.objective < self.objective - 1e-5 * abs(self.objective)
        self.waited = 0 if less or lower or math.isinf(self.violation) else self.waited + 1
        self.violation = min(self.violation, progress.violation)
        self.objective = min(self.objective, progress.objective)
        return self.is_over


def _good_size(num_problems: int) -> int:
    """How many variables a working set has: fewer where many problems are solved at once."""
    return 1024 if num_problems == 1 else max(128, 2 ** round(math.log2(4096 / num_problems)))


def _parts(items: np.ndarray, size: int) -> Sequence[np.ndarray]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _padded(items: np.ndarray, *, fill: int, least: int, most: int | None = None) -> np.ndarray:
    """As many as the next power of two, or as `most`, so that few programs are compiled."""
    size = max(1 << (len(items) - 1).bit_length(), least)
    size = size if most is None else min(size, most)
    return np.concatenate([items, np.full(size - len(items), fill, items.dtype)])


@partial(jax.jit, static_argnames=("size", "two_families"))
def _choose(
    state: Variables, linear: Array, old: Array, *, size: int, two_families: bool
) -> tuple[Array, Array, Array, Array]:
    """The working sets, what may be in the next ones, the violations and the objectives."""
    objective = -(state.value * (state.sign * state.score - linear)).sum(1) / 2
    return (
        *working_set.choose(state, old, size=size, spare=SPARE, two_families=two_families),
        working_set.violation(state, two_families=two_families),
        objective,
    )


@partial(jax.jit, static_argnames=("num_groups", "group_size", "two_families"))
def _tally(
    state: Variables, groups: Array, *, num_groups: int, group_size: int, two_families: bool
) -> tuple[Array, Array]:
    """The gaps between primals and duals, and how many examples have a variable that is not 0."""
    thresholds = working_set.thresholds(state, two_families=two_families)
    level = jnp.where(state.sign > 0, thresholds[0][:, None], thresholds[-1][:, None])
    slope = state.sign * (level - state.score)  # of the objective, within the equation
    apart = state.value * jnp.maximum(slope, 0)
    apart += (state.upper - state.value) * jnp.maximum(-slope, 0)
    used = (state.value > 0).reshape(len(groups), -1, groups.shape[1], group_size).any(1)
    examples = jnp.zeros((num_groups, group_size), bool).at[groups].max(used)
    return apart.sum(1), examples.sum()


@partial(jax.jit, static_argnames=("sides", "two_families"))
def _advance(
    rows: Array,
    variables: Variables,
    chosen: Array,
    starts: Array,
    slots: Array,
    examples: Array,
    goal: Array,
    *,
    sides: int,
    two_families: bool,
) -> tuple[Array, Array, Array]:
    """Solves one working set of each problem and updates the scores of all its variables.

    Args:
      rows: the rows in the cache.
      variables: all variables of the problems.
      chosen: `[problems, size]` the variables of the working sets.
      starts: `[problems, groups of each]` the first columns of the problems' groups.
      slots: `[problems, size]` the slots of the working sets' rows.
      examples: `[problems, size]` the working sets' columns.
      goal: `[problems]` the violation at which to end.
      sides: the number of variables a column has.
      two_families: whether pairs must have one sign.

    Returns:
      Values and scores `[problems, variables]`, and the number of steps of the slowest problem.
    """
    here = Variables(*(jnp.take_along_axis(field, chosen, axis=1) for field in variables))
    kernel = rows[slots[:, :, None], examples[:, None, :]]
    value, steps = working_set.solve(
        kernel, here, goal, max_steps=20 * chosen.shape[1], two_families=two_families
    )
    change = here.sign * (value - here.value)
    columns = variables.score.shape[1] // sides
    moved = jax.lax.map(
        partial(_weighted_rows, rows, columns // starts.shape[1]), (slots, starts, change)
    )
    line = jnp.arange(len(chosen))[:, None]
    return (
        variables.value.at[line, chosen].set(value),
        variables.score - jnp.tile(moved, (1, sides)),
        steps,
    )


def _weighted_rows(rows: Array, size: int, problem: tuple[Array, Array, Array]) -> Array:
    """`[columns]`: the weighted sum of a problem's rows in the columns that it sees.

    Most of the time goes into reading rows from memory: those of weight 0 are left out, and sixteen
    at a time are added where they stand, without a copy.
    """
    slots, starts, weight = problem
    chunk = math.gcd(len(slots), 16)
    order = jnp.argsort(weight == 0)
    slots, weight = slots[order].reshape(-1, chunk), weight[order].reshape(-1, chunk)
    count = (weight != 0).any(1).sum()

    def of_group(start: Array) -> Array:
        def add(part: Array, total: Array) -> Array:
            for slot, factor in zip(slots[part], weight[part], strict=True):
                total += factor * jax.lax.dynamic_slice(rows, (slot, start), (1, size))[0]
            return total

        return jax.lax.fori_loop(0, count, add, jnp.zeros(size, rows.dtype))

    return jax.lax.map(of_group, starts).reshape(-1)


@partial(jax.jit, static_argnames="size")
def _products(rows: Array, slots: Array, weight: Array, starts: Array, *, size: int) -> Array:
    """`[problems, columns]`: weighted sums of rows, in the columns that each problem sees."""

    def add(total: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
        slots, weight = part
        return total + jnp.matmul(weight.T, rows[slots], precision="highest"), None

    nothing = jnp.zeros((len(weight), rows.shape[1]), rows.dtype)
    parts = (slots.reshape(-1, 128), weight.T.reshape(-1, 128, len(weight)))
    every, _ = jax.lax.scan(add, nothing, parts)
    seen = starts[:, :, None] + jnp.arange(size, dtype=starts.dtype)[None, None]
    return jnp.take_along_axis(every, seen.reshape(len(starts), -1), axis=1)


@jax.jit
def _scores(sign: Array, linear: Array, upper: Array, products: Array) -> Array:
    """`[problems, variables]`, from the products with the columns of each problem."""
    repeated = jnp.tile(products, (1, sign.shape[1] // products.shape[1]))
    return jnp.where(upper > 0, -sign * linear - repeated, 0)
