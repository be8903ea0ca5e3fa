"""A support vector machine with the scale of its features: fitted, kept in files, predicting."""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from jaxml.errors import InputError
from jaxml.svm.command.compile_clock import CompileClock
from jaxml.svm.command.estimator_models import to_estimator, to_model
from jaxml.svm.command.machine_settings import MachineSettings
from jaxml.svm.command.scaling import LARGEST, Scaling, fit_scaling, read_scaling
from jaxml.svm.command.tables import Table, read_table
from jaxml.svm.files.libsvm_model import LibsvmModel
from jaxml.svm.files.model_file import read_model, write_model
from jaxml.svm.kernel import KernelProgress
from jaxml.svm.linear import LinearProgress

Say = Callable[[str], None]
Stopped = Callable[[], bool]


@dataclass(frozen=True)
class Machine:
    """A fitted machine.

    Attributes:
      estimator: of scikit-learn's interface.
      scaling: of its features, or None.
      facts: numbers of the fit, as the result holds them.
      zero_based: whether its first feature had the index 0 in a file.
    """

    estimator: Any
    scaling: Scaling | None
    facts: dict[str, Any]
    zero_based: bool = False

    def predict(self, x: Any) -> np.ndarray:
        """Classes or values of `[n, features]`."""
        return self.estimator.predict(x if self.scaling is None else self.scaling.apply(x))


def fit(settings: MachineSettings, table: Table, say: Say, stopped: Stopped) -> Machine:
    """Scales the features and fits the machine.

    Args:
      settings: of the machine.
      table: of training.
      say: is told how it goes, once a second at most.
      stopped: whether to end at the best point so far.

    Returns:
      The machine.

    Raises:
      InputError: settings or examples that are not allowed.
    """
    estimator = settings.estimator()
    y = table.y if settings.is_regression else table.classes()
    scaling = fit_scaling(settings.scale, table.x)
    x = table.x if scaling is None else scaling.apply(table.x)
    estimator.set_params(verbose=_Narrator(say, stopped))
    with warnings.catch_warnings(), CompileClock() as clock:
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.perf_counter()
        estimator.fit(x, y)
        seconds = time.perf_counter() - start
    estimator.set_params(verbose=False)
    facts = _objectives(estimator) | {
        "fit_seconds": max(seconds - clock.seconds, 0.0),
        "compile_seconds": clock.seconds,
    }
    return Machine(estimator, scaling, facts, table.zero_based)


def save_machine(machine: Machine, path: Path) -> None:
    """Writes a model file, and beside it, where features are scaled, svm-scale's file of ranges.

    Raises:
      InputError: a file cannot be written.
    """
    write_model(path, to_model(machine.estimator), zero_based=machine.zero_based)
    if machine.scaling is None:
        _ranges_of(path).unlink(missing_ok=True)  # those of the model that was there before
    else:
        machine.scaling.write(_ranges_of(path), zero_based=machine.zero_based)


def load_machine(path: Path, test: Path) -> tuple[Machine, Table]:
    """Reads a model file, the file of ranges where one stands beside it, and what is predicted.

    As libsvm has it, a feature of the test set that no support vector has is 0 in all of them; one
    that a linear machine does not know is left out.

    Args:
      path: of the model.
      test: file in libsvm's format.

    Returns:
      The machine, and the test set with as many features.

    Raises:
      InputError: a file cannot be read, is of a machine that no estimator is, or does not fit the
        others.
    """
    model = read_model(path, zero_based=True)
    if isinstance(model, LibsvmModel) and model.support is not None:
        return _load_precomputed(model, test)
    # An index is the number of its column, as in libsvm, which so takes files from 0 or 1 on.
    by_index = isinstance(model, LibsvmModel)
    table = read_table(test, zero_based=True if by_index else None)
    if table.zero_based and not by_index:
        raise InputError(
            f"{test}: has features of index 0, which {path} cannot have; count them from 1"
        )
    ranges = _ranges_of(path)
    scaling = read_scaling(ranges, zero_based=by_index) if ranges.exists() else None
    width = max(table.x.shape[1], 0 if scaling is None else len(scaling.low), 1)
    if isinstance(model, LibsvmModel) and model.support_vectors is not None:
        _check_width(model.support_vectors, table, width)
    estimator: Any = to_estimator(model, num_features=width)
    features = estimator.n_features_in_
    table.x.resize((len(table.y), features))
    return Machine(estimator, None if scaling is None else scaling.resized(features), {}), table


def _load_precomputed(model: LibsvmModel, test: Path) -> tuple[Machine, Table]:
    """The machine of a precomputed kernel, and rows of `0:number 1:value 2:value ...`."""
    table = read_table(test, zero_based=True)
    rows, width = table.x.shape
    if 8 * rows * width > LARGEST:
        raise InputError(f"{test}: {rows} x {width} values of a kernel do not fit into memory")
    estimator: Any = to_estimator(model, num_features=max(width - 1, 1))
    table.x.resize((rows, estimator.n_features_in_ + 1))
    kernel = table.x[:, 1:].toarray()  # feature 0 only counts the rows
    return Machine(estimator, None, {}), Table(table.name, kernel, table.y)


class _Narrator:
    """Tells where a solver stands, and stops it when asked to."""

    def __init__(self, say: Say, stopped: Stopped) -> None:
        self.say, self.stopped = say, stopped
        self.told = -math.inf

    def __call__(self, progress: LinearProgress | KernelProgress) -> None:
        if time.monotonic() - self.told >= 1:
            self.told = time.monotonic()
            self.say(_line(progress))
        if self.stopped():
            raise KeyboardInterrupt  # the solvers end at their best point then


def _line(progress: LinearProgress | KernelProgress) -> str:
    if isinstance(progress, LinearProgress):
        name, count = "step", progress.steps
        primal, dual = float(progress.primal.sum()), float(progress.dual.sum())
    else:
        name, count, dual = "round", progress.rounds, -progress.objective
        primal = dual + progress.gap
    gap = (primal - dual) / abs(primal) if primal else 0.0
    return (
        f"{name} {count}: primal {primal:.8g}, dual {dual:.8g}, relative gap {gap:.2e}, "
        f"{progress.num_support} support vectors"
    )


def _objectives(estimator: Any) -> dict[str, Any]:
    """What a fit came to, over all problems."""
    primal = np.sum(estimator.objective_ if hasattr(estimator, "objective_") else estimator.primal_)
    gap = np.sum(estimator.duality_gap_)
    converged = getattr(estimator, "converged_", None)
    if converged is None:
        converged = estimator.fit_status_ == 0
    return {
        "primal": float(primal),
        "dual": float(primal - gap),
        "relative_gap": float(gap / abs(primal)) if primal else 0.0,
        "n_support": len(estimator.support_),
        "n_iter": int(np.max(estimator.n_iter_)),
        "converged": bool(converged),
    }


def _check_width(vectors: Any, table: Table, width: int) -> None:
    """Refuses a far index, up to which all features would become dense."""
    rows, known = vectors.shape
    rows += len(table.y)
    if width > known and 8 * rows * width > LARGEST:
        raise InputError(
            f"{table.name}: {rows} rows of it and of support vectors would become dense, with "
            f"{width} features where the support vectors have {known}; leave out the last ones"
        )


def _ranges_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.range")
