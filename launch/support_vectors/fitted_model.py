"""Fitted estimators with the scaling of their features, and their files."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from jaxml.errors import InputError
from jaxml.svm import LinearSVC, LinearSVR, files
from jaxml.svm.files import LibsvmModel
from jaxml.svm.kernel import KernelProgress
from jaxml.svm.linear import LinearProgress
from launch.support_vectors.compile_timer import compile_timer
from launch.support_vectors.config import SVMConfig
from launch.support_vectors.scaling import LARGEST, Scaling, fit_scaling, read_scaling
from launch.support_vectors.tables import Table, read_table

Say = Callable[[str], None]
Stopped = Callable[[], bool]


@dataclass(frozen=True)
class FittedModel:
    """A fitted estimator, the scaling of its features, and measurements of the fit.

    With `zero_based`, its first feature has index 0 in files. `progress` has the iteration, the
    primal and the dual objective, and the number of support vectors, for each report of the solver.
    """

    estimator: Any
    scaling: Scaling | None
    metrics: dict[str, Any]
    zero_based: bool = False
    progress: Sequence[tuple[int, float, float, int]] = ()

    def decide(self, x: Any) -> np.ndarray:
        """Computes the decision values of `[n, features]`."""
        return self.estimator.decision_function(
            x if self.scaling is None else self.scaling.apply(x)
        )

    def predict(self, x: Any) -> np.ndarray:
        """Predicts classes or targets of `[n, features]`."""
        return self.estimator.predict(x if self.scaling is None else self.scaling.apply(x))


def fit(config: SVMConfig, table: Table, say: Say, stopped: Stopped) -> FittedModel:
    """Scales the features and fits an estimator, with a line of progress at most once a second."""
    estimator = config.estimator()
    y = table.y if config.is_regression else table.classes()
    scaling = fit_scaling(config.scale, table.x)
    x = table.x if scaling is None else scaling.apply(table.x)
    progress: list[tuple[int, float, float, int]] = []
    estimator.set_params(verbose=_reporter(say, stopped, progress))
    with warnings.catch_warnings(), compile_timer() as compile_seconds:
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.perf_counter()
        estimator.fit(x, y)
        seconds = time.perf_counter() - start
    estimator.set_params(verbose=False)
    metrics = _objectives(estimator) | {
        "fit_seconds": max(seconds - compile_seconds(), 0.0),
        "compile_seconds": compile_seconds(),
    }
    return FittedModel(estimator, scaling, metrics, table.zero_based, progress)


def save(model: FittedModel, path: Path) -> None:
    """Writes a model file, and if features are scaled, a file of ranges next to it."""
    files.write_model(path, files.to_model(model.estimator), zero_based=model.zero_based)
    if model.scaling is None:
        _ranges_of(path).unlink(missing_ok=True)  # it would belong to an earlier model
    else:
        model.scaling.write(_ranges_of(path), zero_based=model.zero_based)


def load(path: Path, test: Path) -> tuple[FittedModel, Table]:
    """Reads a model file, the file of ranges next to it if there is one, and a test set.

    As in libsvm, support vectors are 0 in features that only the test set has. Linear models ignore
    such features. The test set gets as many features as the model.
    """
    model = files.read_model(path, zero_based=True)
    is_libsvm = isinstance(model, LibsvmModel)
    if is_libsvm and model.support is not None:
        return _load_precomputed(model, test)
    # In libsvm an index is a column, whether files begin at 0 or 1.
    table = read_table(test, zero_based=True if is_libsvm else None)
    if table.zero_based and not is_libsvm:
        raise InputError(f"{test}: features must be counted from 1 for {path}, got index 0")
    ranges = _ranges_of(path)
    scaling = read_scaling(ranges, zero_based=is_libsvm) if ranges.exists() else None
    width = max(table.x.shape[1], 0 if scaling is None else len(scaling.low), 1)
    if is_libsvm and model.support_vectors is not None:
        _check_width(model.support_vectors, table, width)
    estimator: Any = files.to_estimator(model, num_features=width)
    features = estimator.n_features_in_
    table.x.resize((len(table.y), features))
    return FittedModel(estimator, None if scaling is None else scaling.resized(features), {}), table


def _load_precomputed(model: LibsvmModel, test: Path) -> tuple[FittedModel, Table]:
    """Loads a model of a precomputed kernel, and lines of `0:number 1:value 2:value ...`."""
    table = read_table(test, zero_based=True)
    rows, width = table.x.shape
    if 8 * rows * width > LARGEST:
        raise InputError(f"{test}: {rows} x {width} kernel values do not fit into memory")
    estimator: Any = files.to_estimator(model, num_features=max(width - 1, 1))
    table.x.resize((rows, estimator.n_features_in_ + 1))
    kernel = table.x[:, 1:].toarray()  # column 0 numbers the samples
    return FittedModel(estimator, None, {}), Table(table.name, kernel, table.y)


def _reporter(
    say: Say, stopped: Stopped, seen: list[tuple[int, float, float, int]]
) -> Callable[[LinearProgress | KernelProgress], None]:
    """Returns a callback of the solvers that reports and records progress, and interrupts them."""
    last = -math.inf

    def report(progress: LinearProgress | KernelProgress) -> None:
        nonlocal last
        seen.append(_numbers(progress))
        if time.monotonic() - last >= 1:
            last = time.monotonic()
            say(_line(progress))
        if stopped():
            raise KeyboardInterrupt  # the solvers then return their best point

    return report


def _line(progress: LinearProgress | KernelProgress) -> str:
    name = "step" if isinstance(progress, LinearProgress) else "round"
    count, primal, dual, num_support = _numbers(progress)
    gap = (primal - dual) / abs(primal) if primal else 0.0
    return (
        f"{name} {count}: primal {primal:.8g}, dual {dual:.8g}, relative gap {gap:.2e}, "
        f"{num_support} support vectors"
    )


def _numbers(progress: LinearProgress | KernelProgress) -> tuple[int, float, float, int]:
    """Returns the iteration, the primal and dual objectives and the number of support vectors."""
    if isinstance(progress, LinearProgress):
        primal, dual = float(progress.primal.sum()), float(progress.dual.sum())
        return progress.steps, primal, dual, int(progress.num_support)
    dual = float(-progress.objective)
    return progress.rounds, dual + float(progress.gap), dual, int(progress.num_support)


def _objectives(estimator: Any) -> dict[str, Any]:
    """Returns the objectives summed over all problems, and the state of convergence."""
    if isinstance(estimator, LinearSVC | LinearSVR):
        primal, converged = estimator.objective_, estimator.converged_
    else:
        primal, converged = np.sum(estimator.primal_), estimator.fit_status_ == 0
    gap = np.sum(estimator.duality_gap_)
    return {
        "primal": float(primal),
        "dual": float(primal - gap),
        "relative_gap": float(gap / abs(primal)) if primal else 0.0,
        "n_support": len(estimator.support_),
        "n_iter": int(np.max(estimator.n_iter_)),
        "converged": bool(converged),
    }


def _check_width(vectors: Any, table: Table, width: int) -> None:
    """Rejects a large index that would make all features up to it dense."""
    rows, known = vectors.shape
    rows += len(table.y)
    if width > known and 8 * rows * width > LARGEST:
        raise InputError(
            f"{table.name}: {width} features do not fit into memory, because they become dense; "
            f"the support vectors have {known}"
        )


def _ranges_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.range")
