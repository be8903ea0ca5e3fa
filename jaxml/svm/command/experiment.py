"""A support vector machine from labelled examples to what is told and written of it."""

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
from jaxml.io import atomic
from jaxml.svm.command.fitted_machine import Machine, Say, Stopped, fit, load_machine, save_machine
from jaxml.svm.command.machine_settings import MachineSettings
from jaxml.svm.command.tables import Table
from jaxml.svm.files.libsvm_lines import shortest


@dataclass(frozen=True)
class Outputs:
    """Files that are written at the end, or None; those that are there are replaced at once.

    Attributes:
      model_out: the model, of liblinear or libsvm; the ranges of scaled features go to its name
        with `.range` after it, as svm-scale writes them.
      predictions_out: a line for each row that was predicted.
      result: the numbers, as JSON.
    """

    model_out: Path | None = None
    predictions_out: Path | None = None
    result: Path | None = None

    def check(self, *, tested: bool) -> None:
        """Checks that they can be written, before much time is spent on what they hold.

        Args:
          tested: whether there will be predictions.

        Raises:
          InputError: there is no such folder, a folder of that name, or nothing to write.
        """
        for name, path in vars(self).items():
            check_output(name, path)
        if self.predictions_out and not tested:
            raise InputError("predictions_out: needs a test set")


def check_output(name: str, path: Path | None) -> None:
    """Checks that a file can be written, or that there is none to write.

    Raises:
      InputError: there is no such folder, or a folder of that name.
    """
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        problem = "is a folder" if path.is_dir() else "its folder does not exist"
        raise InputError(f"{name}: {path}: {problem}")


def run(
    settings: MachineSettings,
    train: Table,
    test: Table | None,
    *,
    cv: int,
    outputs: Outputs,
    say: Say,
    stopped: Stopped,
) -> dict[str, Any]:
    """Fits a machine, tells how it goes, and writes what it came to.

    Args:
      settings: of the machine.
      train: what is fitted.
      test: what is predicted, or None.
      cv: folds of a cross-validation that comes first, or 0.
      outputs: files to write.
      say: prints a line.
      stopped: whether to end at the best point so far.

    Returns:
      The numbers that `outputs.result` holds.

    Raises:
      InputError: settings or examples that are not allowed, or a file that cannot be written.
      KeyboardInterrupt: it was stopped in the cross-validation.
    """
    if outputs.model_out and train.zero_based and settings.is_linear:
        raise InputError(
            f"model_out: {train.name} counts features from 0, which liblinear's model files "
            f"cannot; count them from 1"
        )
    say(_describe(settings, train))
    validated = cross_validate(settings, train, cv, say, stopped) if cv else {}
    for name, value in validated.items():
        say(f"{name} {value:.6g}")
    machine = fit(settings, train, say, stopped)
    for line in _tell(machine, stopped()):
        say(line)
    result = {"accuracy": None} | machine.facts | validated | {"interrupted": stopped()}
    result |= _about(settings, train)
    if outputs.model_out:
        save_machine(machine, outputs.model_out)
    if test is not None:
        result |= predict(machine, test, outputs.predictions_out, say)
    if outputs.result:
        save_result(result, outputs.result)
    return result


def run_model(path: Path, test: Path, *, outputs: Outputs, say: Say) -> dict[str, Any]:
    """Predicts by a model file.

    Args:
      path: of the model, of libsvm or liblinear; a file of ranges beside it is used.
      test: file of what is predicted, in libsvm's format.
      outputs: files to write.
      say: prints a line.

    Returns:
      The numbers that `outputs.result` holds.

    Raises:
      InputError: a file cannot be read or written, or does not fit the other one.
    """
    machine, table = load_machine(path, test)
    result = predict(machine, table, outputs.predictions_out, say)
    if outputs.result:
        save_result(result, outputs.result)
    return result


def cross_validate(
    settings: MachineSettings, table: Table, folds: int, say: Say, stopped: Stopped
) -> dict[str, float]:
    """Fits to all folds but one and predicts that one, in turn.

    Args:
      settings: of the machine.
      table: what is divided; of classes each fold has the same shares where it can.
      folds: how many, from 2 on.
      say: is told of each fold.
      stopped: whether to end.

    Returns:
      `cv_accuracy` of all rows; for regression `cv_rmse`, the root of their mean squared error.

    Raises:
      InputError: as `run`, or other folds.
      KeyboardInterrupt: it was stopped.
    """
    count = len(table.y)
    if not 2 <= folds <= count:
        raise InputError(f"cv: {folds} is not allowed, it is from 2 to the number of rows, {count}")
    kind = KFold if settings.is_regression else StratifiedKFold
    y = table.y if settings.is_regression else table.classes()
    found = np.zeros(count)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        parts = list(kind(folds, shuffle=True, random_state=0).split(y, y))
    for number, (train, test) in enumerate(parts, start=1):
        part = Table(f"{table.name} without fold {number}", table.x[train], table.y[train])
        machine = fit(settings, part, lambda _: None, stopped)
        if stopped():
            raise KeyboardInterrupt
        found[test] = machine.predict(table.x[test])
        name, score = _score(settings.is_regression, y[test], found[test])
        say(f"fold {number}/{folds}: {name} {score:.6g}")
    name, score = _score(settings.is_regression, y, found)
    return {f"cv_{name}": score}


def predict(machine: Machine, table: Table, out: Path | None, say: Say) -> dict[str, Any]:
    """Predicts examples, tells how well, and writes what they were taken for.

    Args:
      machine: that was fitted or read.
      table: the examples.
      out: file for the predictions, or None.
      say: prints a line.

    Returns:
      `accuracy` or for regression `rmse`, `test_rows` and `predict_seconds`.

    Raises:
      InputError: the file cannot be written.
    """
    start = time.perf_counter()
    found = machine.predict(table.x)
    seconds = time.perf_counter() - start
    is_regression = not hasattr(machine.estimator, "classes_")
    if not is_regression and (note := _unknown_labels(machine.estimator.classes_, table)):
        say(note)
    name, score = _score(is_regression, table.y, found)
    right = "" if is_regression else f" ({(found == table.y).sum()} of {len(found)})"
    say(f"test {name} {score:.6g}{right}")
    if out:
        lines = shortest(np.asarray(found, np.float64))
        _write(out, "".join(f"{line}\n" for line in lines))
    return {name: score, "test_rows": len(found), "predict_seconds": seconds}


def save_result(result: dict[str, Any], path: Path) -> None:
    """Writes numbers as JSON, at once; what is not finite becomes null.

    Raises:
      InputError: the file cannot be written.
    """
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in result.items()
    }
    _write(path, json.dumps(finite, indent=2, allow_nan=False) + "\n")


def _describe(settings: MachineSettings, table: Table) -> str:
    rows, features = table.x.shape
    text = f"{table.name}: {rows} rows, {features} features"
    if settings.is_regression:
        return f"{text}, targets from {table.y.min():g} to {table.y.max():g}"
    classes = np.unique(table.classes())
    shown = ", ".join(map(str, classes[:10])) + (", ..." if len(classes) > 10 else "")
    return f"{text}, {len(classes)} classes: {shown}"


def _about(settings: MachineSettings, table: Table) -> dict[str, Any]:
    """What was fitted, for the result."""
    rows, features = table.x.shape
    used = dataclasses.asdict(settings.filled())
    return {"train": table.name, "rows": rows, "features": features, "settings": used}


def _tell(machine: Machine, stopped: bool) -> list[str]:
    facts = machine.facts
    gap = facts["relative_gap"]
    lines = [
        f"primal {facts['primal']:.10g}, dual {facts['dual']:.10g}, relative gap {gap:.2e}",
        f"support vectors {facts['n_support']}, iterations {facts['n_iter']}, "
        f"fit {facts['fit_seconds']:.3f} s, compilation {facts['compile_seconds']:.3f} s",
    ]
    if not facts["converged"]:
        cause = "stopped" if stopped else "not solved to the tolerance"
        lines.append(f"{cause}: this is the best point so far, its relative gap is {gap:.2e}")
    return lines


def _score(is_regression: bool, y: np.ndarray, found: np.ndarray) -> tuple[str, float]:
    if is_regression:
        return "rmse", math.sqrt(np.square(found - y).mean())
    return "accuracy", float((found == y).mean())


def _unknown_labels(classes: np.ndarray, table: Table) -> str:
    """Says which labels cannot be predicted; empty for none."""
    unknown = ~np.isin(table.y, classes)
    if not unknown.any():
        return ""
    labels = np.unique(table.y[unknown])
    shown = ", ".join(f"{label:g}" for label in labels[:10]) + (", ..." if len(labels) > 10 else "")
    return (
        f"note: {table.name}: {unknown.sum()} of {len(unknown)} rows have labels that training "
        f"lacks, {shown}; they count as errors"
    )


def _write(path: Path, text: str) -> None:
    try:
        atomic.write(path, text.encode())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
