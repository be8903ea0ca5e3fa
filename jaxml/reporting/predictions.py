"""Sections of a report about the predictions of a network on its evaluation set."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from sklearn import metrics as reference

from jaxml.metrics import CalibrationError
from jaxml.reporting import charts, page
from jaxml.reporting.findings import Findings

PICTURES = 12  # of mistakes and of hits


def sections(findings: Findings, split: str) -> list[str]:
    """Returns the sections that suit the kind of the run.

    Args:
      findings: outputs and pictures.
      split: name of the evaluation set.
    """
    if not findings.num_classes:
        parts = _regression(findings)
    elif findings.outputs.ndim == 1:
        parts = _binary(findings) + _classes(findings)
    else:
        parts = _classes(findings)
    return [page.heading(f"Predictions on the {split} set"), *parts, *_pictures(findings, split)]


def _regression(findings: Findings) -> list[str]:
    found, targets = (np.asarray(a, np.float64) for a in (findings.outputs, findings.targets))
    residuals = targets - found
    quantiles = np.quantile(residuals, [0.05, 0.5, 0.95])
    variance = np.square(targets - targets.mean()).sum()
    fit = 1 - np.square(residuals).sum() / variance if variance else float("nan")
    text = (
        f"R² is {fit:.3g}. The residual (target minus prediction) is {quantiles[1]:.3g} in the "
        f"median; 90 % of the residuals lie between {quantiles[0]:.3g} and {quantiles[2]:.3g}."
    )
    figures = [
        page.figure(
            "Prediction and target",
            "a perfect prediction is on the dashed line",
            charts.scatter(found, targets, x="prediction", y="target", line="diagonal"),
        ),
        page.figure(
            "Residuals",
            "target minus prediction; a pattern shows what the model misses",
            charts.scatter(found, residuals, x="prediction", y="residual", line="zero"),
        ),
        page.figure(
            "Distribution of the residuals",
            "number of examples by residual",
            charts.histogram({"residuals": residuals}, x="residual", line=0.0),
        ),
    ]
    return [page.paragraph(text), page.grid(figures)]


def _binary(findings: Findings) -> list[str]:
    scores, labels = findings.outputs.astype(np.float64), findings.targets
    if len(np.unique(labels)) < 2:
        return []
    false_rate, true_rate, _ = reference.roc_curve(labels, scores)
    precision, recall, _ = reference.precision_recall_curve(labels, scores)
    area = reference.roc_auc_score(labels, scores)
    average = reference.average_precision_score(labels, scores)
    name = "log-odds of class 1" if findings.probabilistic else "signed margin"
    groups = {f"class {label}": scores[labels == i] for i, label in enumerate(findings.names)}
    figures = [
        page.figure(
            "ROC curve",
            f"area {area:.4f}; rates over all thresholds, class {findings.names[1]} is positive",
            charts.lines(
                {"model": (_thin(false_rate), _thin(true_rate)), "chance": ([0, 1], [0, 1])},
                x="false positive rate",
                y="true positive rate",
            ),
        ),
        page.figure(
            "Precision and recall",
            f"average precision {average:.4f}",
            charts.lines({"model": (_thin(recall), _thin(precision))}, x="recall", y="precision"),
        ),
        page.figure(
            "Outputs by class",
            f"{name}; the decision is at the dashed line",
            charts.histogram(groups, x=name, line=0.0),
        ),
    ]
    return [page.grid(figures)]


def _thin(values: np.ndarray) -> Sequence[float]:
    """Keeps at most 500 points of a curve, its ends included."""
    chosen = np.unique(np.linspace(0, len(values) - 1, 500).round().astype(int))
    return values[chosen].tolist()


def _classes(findings: Findings) -> list[str]:
    names, labels = findings.names, findings.targets.astype(int)
    probabilities = findings.probabilities
    predicted = probabilities.argmax(axis=1)
    numbers = list(range(len(names)))
    counts = reference.confusion_matrix(labels, predicted, labels=numbers)
    caption = "rows are true classes; colours show the fraction of the row"
    figures = [page.figure("Confusion matrix", caption, charts.confusion(counts, names))]
    if findings.probabilistic:
        figures.append(_calibration(probabilities.max(axis=1), predicted == labels))
    without: Any = 0  # score of a class without examples; its type is inferred as that of "warn"
    precision, recall, f1, support = reference.precision_recall_fscore_support(
        labels, predicted, labels=numbers, zero_division=without
    )
    columns = ("class", "examples", "correct", "precision", "recall", "F1", "most confused with")
    others = counts - np.diag(np.diag(counts))
    rows = [
        (
            name if findings.class_names else (i, name),
            int(np.asarray(support)[i]),
            int(counts[i, i]),
            *(_percent(values[i]) for values in map(np.asarray, (precision, recall, f1))),
            f"{names[others[i].argmax()]} ({others[i].max()})" if others[i].any() else "",
        )
        for i, name in enumerate(names)
    ]
    return [page.grid(figures), page.heading("Classes", 3), page.table(columns, rows)]


def _percent(value: float) -> tuple[float, str]:
    return float(value), f"{value:.2%}"


def _calibration(confidences: np.ndarray, correct: np.ndarray) -> str:
    error = CalibrationError.from_batch(jnp.float32(confidences), jnp.asarray(correct))
    counts = np.asarray(error.counts)
    some = np.maximum(counts, 1)
    drawn = charts.reliability(
        np.asarray(error.probabilities) / some, np.asarray(error.outcomes) / some, counts
    )
    caption = (
        f"expected calibration error {float(error.expected()):.4f} in 15 bins; the mean confidence "
        f"is {confidences.mean():.2%}, the accuracy {correct.mean():.2%}; the dashed line is "
        "perfect calibration, and large dots are many examples"
    )
    return page.figure("Reliability", caption, drawn)


def _pictures(findings: Findings, split: str) -> list[str]:
    parts = []
    if findings.images is not None and findings.num_classes:
        parts += _extremes(findings, split)
    if findings.kernels is not None:
        parts.append(
            page.figure(
                "Kernels of the first layer",
                "each scaled to its own range; grey is zero",
                page.pictures(
                    _to_pixels(findings.kernels),
                    [str(i) for i in range(len(findings.kernels))],
                    small=True,
                ),
            )
        )
    if findings.samples is not None:
        content = page.pictures(findings.samples, findings.sample_captions, small=True)
        caption = "as the network sees them in the last step, after augmentation, with labels"
        parts.append(page.figure("Training examples", caption, content))
    return [page.heading("Pictures"), "".join(f"<p></p>{part}" for part in parts)] if parts else []


def _extremes(findings: Findings, split: str) -> list[str]:
    """Shows the mistakes with the highest and the hits with the lowest confidence."""
    probabilities, names = findings.probabilities, findings.names
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = predicted != findings.targets
    order = np.argsort(-confidence, kind="stable")
    chosen = {
        "Most confident mistakes": order[wrong[order]][:PICTURES],
        "Least confident hits": order[::-1][~wrong[order[::-1]]][:PICTURES],
    }
    if not findings.probabilistic:
        unit = "margins are no probabilities; the softmax of the outputs orders the pictures"
    else:
        unit = "true class, and the predicted one with its probability"
    parts = []
    for title, indices in chosen.items():
        if not len(indices):
            parts.append(page.figure(title, f"none in the {split} set", " "))
            continue
        captions = [
            f"{names[int(findings.targets[i])]} → {names[predicted[i]]}"
            + (f" ({confidence[i]:.1%})" if findings.probabilistic else "")
            for i in indices
        ]
        assert findings.images is not None
        content = page.pictures(findings.images(indices.tolist()), captions)
        parts.append(page.figure(title, unit, content))
    return parts


def _to_pixels(kernels: np.ndarray) -> np.ndarray:
    """Scales each kernel symmetrically, so that zero is grey."""
    largest = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    scaled = kernels / np.where(largest > 0, largest, 1)
    return np.round(127.5 + 127.5 * scaled).astype(np.uint8)
