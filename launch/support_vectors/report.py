"""The report of a fit in one HTML file: its result, margins, support vectors and convergence."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxml.reporting import charts, page, predictions
from jaxml.reporting.environment import environment
from jaxml.reporting.findings import Findings
from jaxml.reporting.report import duration, environment_table
from launch.outputs import write_text
from launch.support_vectors.config import SVMConfig
from launch.support_vectors.fitted_model import FittedModel
from launch.support_vectors.tables import Table


def write_report(
    path: Path, config: SVMConfig, model: FittedModel, train: Table, test: Table | None, score: str
) -> None:
    """Writes the report.

    Args:
      path: HTML file.
      config: config of the fit.
      model: the fitted model, with its metrics and progress.
      train: training set.
      test: test set, or None.
      score: the result on the test set in words; empty without one.
    """
    kind = type(model.estimator).__name__
    title = f"{kind} on {Path(train.name).name}"
    parts = [
        page.heading(title, 1),
        page.paragraph(_sentence(kind, config, model, train, score)),
        page.tiles(_numbers(model, score)),
        page.heading("Fit on the training set"),
        page.grid([*_margins(model, train), *_convergence(model)]),
        *_support(model, train),
        *(predictions.sections(_findings(model, test), "test") if test is not None else []),
        page.heading("How to repeat it"),
        *_repetition(config),
    ]
    write_text(path, page.page(title, parts))


def _sentence(kind: str, config: SVMConfig, model: FittedModel, train: Table, score: str) -> str:
    full, metrics = config.filled(), model.metrics
    state = f"{'solved to' if metrics['converged'] else 'stopped at'} a relative duality gap of "
    state += f"{metrics['relative_gap']:.2e}"
    state += "" if metrics["converged"] else ", above its tolerance"
    samples, features = train.x.shape
    return (
        f"{kind} with the {full.kernel} kernel, {full.loss.replace('_', ' ')} loss and C = "
        f"{full.C:g} was fitted to {samples:,} samples of {features:,} features and {state}. "
        + (f"On the test set: {score}." if score else "It was not tested.")
    )


def _numbers(model: FittedModel, score: str) -> dict[str, str]:
    metrics = model.metrics
    name, _, value = score.partition(" ")
    tested = {f"test {name}": value} if score else {}
    return {
        **tested,
        "support vectors": page.number(metrics["n_support"]),
        "relative duality gap": f"{metrics['relative_gap']:.2e}",
        "primal objective": page.number(metrics["primal"]),
        "iterations": page.number(metrics["n_iter"]),
        "fit": duration(metrics["fit_seconds"]),
        "compilation": duration(metrics["compile_seconds"]),
    }


def _margins(model: FittedModel, train: Table) -> list[str]:
    """Shows how far the training samples are on the right side, or their residuals."""
    estimator = model.estimator
    if not hasattr(estimator, "classes_"):
        residuals = train.y - model.predict(train.x)
        drawn = charts.histogram({"residuals": residuals}, x="target minus prediction", line=0.0)
        caption = "residuals of the training samples; those inside of the tube cost nothing"
        return [page.figure("Residuals", caption, drawn)]
    values = model.decide(train.x)
    numbers = np.searchsorted(estimator.classes_, train.y)
    names = [f"{label:g}" for label in estimator.classes_]
    if values.ndim == 1:
        margins = np.where(numbers == 1, values, -values)
        groups = {f"class {name}": margins[numbers == i] for i, name in enumerate(names)}
        caption = (
            "decision value times label; right of the dashed line, at 1, a sample is beyond the "
            "margin, left of 0 it is misclassified"
        )
        drawn = charts.histogram(groups, x="margin", line=1.0)
    else:
        own = values[np.arange(len(values)), numbers]
        others = values.copy()
        others[np.arange(len(values)), numbers] = -np.inf
        caption = (
            "decision value of the true class minus the largest other one; below 0 is an error"
        )
        drawn = charts.histogram({"margins": own - others.max(axis=1)}, x="margin", line=0.0)
    return [page.figure("Margins of the training samples", caption, drawn)]


def _convergence(model: FittedModel) -> list[str]:
    """Draws the gap by iteration, or by report where the problems are solved one after another."""
    if not model.progress:
        return []
    counts, primal, dual, support = zip(*model.progress, strict=True)
    together = all(first < second for first, second in itertools.pairwise(counts))
    at, x = (counts, "iteration") if together else (range(1, len(counts) + 1), "report")
    gaps = [max(p - d, 0.0) / abs(p) if p else 0.0 for p, d in zip(primal, dual, strict=True)]
    known = [(place, gap) for place, gap in zip(at, gaps, strict=True) if gap > 0]
    figures = []
    if known:
        caption = "of the primal and the dual objective, relative to the primal one" + (
            "" if together else "; the solver reports on its binary problems one after another"
        )
        places, values = zip(*known, strict=True)
        drawn = charts.lines({"gap": (places, values)}, x=x, y="relative gap", log="y")
        figures.append(page.figure("Duality gap", caption, drawn))
    if together:
        drawn = charts.lines({"vectors": (counts, support)}, x=x, y="support vectors")
        caption = "number by iteration, over all binary problems"
        figures.append(page.figure("Support vectors", caption, drawn))
    return figures


def _support(model: FittedModel, train: Table) -> list[str]:
    estimator = model.estimator
    if not hasattr(estimator, "classes_"):
        fraction = len(estimator.support_) / len(train.y)
        return [page.paragraph(f"{fraction:.1%} of the training samples are support vectors.")]
    numbers = np.searchsorted(estimator.classes_, train.y)
    of_class = np.bincount(numbers, minlength=len(estimator.classes_))
    vectors = np.bincount(numbers[estimator.support_], minlength=len(of_class))
    rows = [
        (
            (float(label), f"{label:g}"),
            int(count),
            int(found),
            (found / count, f"{found / count:.1%}"),
        )
        for label, count, found in zip(estimator.classes_, of_class, vectors, strict=True)
    ]
    columns = ("class", "samples", "support vectors", "fraction")
    return [page.heading("Support vectors by class", 3), page.table(columns, rows)]


def _findings(model: FittedModel, test: Table) -> Findings:
    estimator = model.estimator
    if not hasattr(estimator, "classes_"):
        return Findings(model.predict(test.x), test.y, num_classes=0)
    known = np.isin(test.y, estimator.classes_)
    return Findings(
        outputs=model.decide(test.x)[known],
        targets=np.searchsorted(estimator.classes_, test.y[known]),
        num_classes=len(estimator.classes_),
        probabilistic=False,
        class_names=[f"{label:g}" for label in estimator.classes_],
    )


def _repetition(config: SVMConfig) -> Sequence[str]:
    circumstances = environment()
    rows: list[tuple[Any, ...]] = [
        (name, str(value)) for name, value in dataclasses.asdict(config.filled()).items()
    ]
    return [
        page.paragraph("Command:"),
        page.preformatted(circumstances["command"]),
        page.table(("setting", "value"), rows, text=2),
        page.heading("Environment", 3),
        environment_table(circumstances),
    ]
