"""Fitting, cross-validation and prediction, with reports on the terminal and in files."""

import dataclasses
import json
import math
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from jaxml.errors import InputError
from launch.outputs import check_output, write_text
from launch.support_vectors.config import SVMConfig
from launch.support_vectors.fitted_model import FittedModel, Say, Stopped, fit, load, save
from launch.support_vectors.scaling import shortest
from launch.support_vectors.tables import Table


@dataclass(frozen=True)
class Outputs:
    """Files to write at the end, or None; existing ones are replaced atomically.

    The ranges of scaled features are written next to `model_out`, with the suffix `.range`, as by
    svm-scale. Predictions are one per line, the result is metrics as JSON, and the report is HTML.
    """

    model_out: Path | None = None
    predictions_out: Path | None = None
    result: Path | None = None
    report: Path | None = None

    def check(self, *, tested: bool) -> None:
        """Raises `InputError` if a file cannot be written, or lacks the test set it needs."""
        for name, path in vars(self).items():
            check_output(f"--{name}", path)
        if self.predictions_out and not tested:
            raise InputError("--predictions_out: needs a test set")


def run(
    config: SVMConfig,
    train: Table,
    test: Table | None,
    *,
    cv: int,
    outputs: Outputs,
    say: Say,
    stopped: Stopped,
) -> dict[str, Any]:
    """Fits an estimator, reports on it and writes the outputs.

    Args:
      config: the config.
      train: training set.
      test: test set, or None.
      cv: number of folds of a cross-validation before the fit, or 0. `KeyboardInterrupt` ends it.
      outputs: files to write.
      say: prints a line.
      stopped: whether to end at the best point so far.

    Returns:
      The metrics that are written to `outputs.result`.
    """
    if outputs.model_out and train.zero_based and config.is_linear:
        raise InputError(
            f"--model_out: {train.name} counts features from 0, but liblinear's model files "
            f"count them from 1"
        )
    say(_describe(config, train))
    validated = cross_validate(config, train, cv, say, stopped) if cv else {}
    for name, value in validated.items():
        say(f"{name} {value:.6g}")
    model = fit(config, train, say, stopped)
    _report(model.metrics, stopped(), say)
    samples, features = train.x.shape
    result = {"accuracy": None} | model.metrics | validated | {"interrupted": stopped()}
    result |= {"train": train.name, "samples": samples, "features": features}
    result |= {"config": dataclasses.asdict(config.filled())}
    if outputs.model_out:
        save(model, outputs.model_out)
    result = _finish(model, test, result, outputs, say)
    if outputs.report:
        from launch.support_vectors.report import write_report  # draws charts

        names = [name for name in ("accuracy", "rmse") if test is not None and name in result]
        score = f"{names[-1]} {result[names[-1]]:.6g}" if names else ""
        write_report(outputs.report, config, model, train, test, score)
        say(f"report in {outputs.report}")
    return result


def run_model(path: Path, test: Path, *, outputs: Outputs, say: Say) -> dict[str, Any]:
    """Predicts a test set by a model file, see `fitted_model.load`; otherwise as `run`."""
    return _finish(*load(path, test), {}, outputs, say)


def _finish(
    model: FittedModel, test: Table | None, result: dict[str, Any], outputs: Outputs, say: Say
) -> dict[str, Any]:
    if test is not None:
        result |= predict(model, test, outputs.predictions_out, say)
    if outputs.result:
        finite = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in result.items()
        }
        write_text(outputs.result, json.dumps(finite, indent=2, allow_nan=False) + "\n")
    return result


def cross_validate(
    config: SVMConfig, table: Table, folds: int, say: Say, stopped: Stopped
) -> dict[str, float]:
    """Returns `cv_accuracy` on stratified folds, or `cv_rmse` on random folds for a regression."""
    count = len(table.y)
    if not 2 <= folds <= count:
        raise InputError(f"--cv must be >= 2 and <= {count}, the number of samples, got {folds}")
    kind = KFold if config.is_regression else StratifiedKFold
    y = table.y if config.is_regression else table.classes()
    found = np.zeros(count)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        parts = list(kind(folds, shuffle=True, random_state=0).split(y, y))
    for number, (train, test) in enumerate(parts, start=1):
        part = Table(f"{table.name} without fold {number}", table.x[train], table.y[train])
        model = fit(config, part, lambda _: None, stopped)
        if stopped():
            raise KeyboardInterrupt
        found[test] = model.predict(table.x[test])
        name, score = _score(config.is_regression, y[test], found[test])
        say(f"fold {number}/{folds}: {name} {score:.6g}")
    name, score = _score(config.is_regression, y, found)
    return {f"cv_{name}": score}


def predict(model: FittedModel, table: Table, out: Path | None, say: Say) -> dict[str, Any]:
    """Predicts a test set, reports the score and writes the predictions to `out` if given."""
    start = time.perf_counter()
    found = model.predict(table.x)
    seconds = time.perf_counter() - start
    is_regression = not hasattr(model.estimator, "classes_")
    if not is_regression:
        _report_unknown_labels(model.estimator.classes_, table, say)
    name, score = _score(is_regression, table.y, found)
    right = "" if is_regression else f" ({(found == table.y).sum()} of {len(found)})"
    say(f"test {name} {score:.6g}{right}")
    if out:
        lines = shortest(np.asarray(found, np.float64))
        write_text(out, "".join(f"{line}\n" for line in lines))
    return {name: score, "test_samples": len(found), "predict_seconds": seconds}


def _describe(config: SVMConfig, table: Table) -> str:
    samples, features = table.x.shape
    text = f"{table.name}: {samples} samples, {features} features"
    if config.is_regression:
        return f"{text}, targets from {table.y.min():g} to {table.y.max():g}"
    classes = np.unique(table.classes())
    return f"{text}, {len(classes)} classes: {_first(classes)}"


def _first(labels: np.ndarray) -> str:
    texts = [f"{label:.15g}" for label in labels[:10]]
    return ", ".join([*texts, "..."] if len(labels) > 10 else texts)


def _report(metrics: dict[str, Any], stopped: bool, say: Say) -> None:
    gap = f"relative gap {metrics['relative_gap']:.2e}"
    say(f"primal {metrics['primal']:.10g}, dual {metrics['dual']:.10g}, {gap}")
    say(
        f"support vectors {metrics['n_support']}, iterations {metrics['n_iter']}, "
        f"fit {metrics['fit_seconds']:.3f} s, compilation {metrics['compile_seconds']:.3f} s"
    )
    if not metrics["converged"]:
        cause = "stopped" if stopped else "not solved to the tolerance"
        say(f"{cause}: best point so far, {gap}")


def _score(is_regression: bool, y: np.ndarray, found: np.ndarray) -> tuple[str, float]:
    if is_regression:
        return "rmse", math.sqrt(np.square(found - y).mean())
    return "accuracy", float((found == y).mean())


def _report_unknown_labels(classes: np.ndarray, table: Table, say: Say) -> None:
    unknown = ~np.isin(table.y, classes)
    if unknown.any():
        say(
            f"note: {table.name}: {unknown.sum()} of {len(unknown)} samples have labels that the "
            f"training set lacks, {_first(np.unique(table.y[unknown]))}; they count as errors"
        )
