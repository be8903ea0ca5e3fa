"""Times SVMs on MNIST, with jaxml and with scikit-learn on the CPU of the same host."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import sklearn.svm
from sklearn.datasets import load_digits

from jaxml.data.sources import idx
from jaxml.svm.estimators import SVC, LinearSVC
from launch.benchmark.campaign.report import Report

RBF = {"C": 5.0, "gamma": 0.02}
SUBSET = 10_000  # samples for the first fit of scikit-learn's RBF classifier


class Data(NamedTuple):
    """Samples with features in [0, 1], and labels."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


def fits(report: Report) -> None:
    """Times fits and predictions of jaxml, each fit twice: the first one compiles."""
    data = load(report)
    report.say(
        f"{len(data.x):,} samples of {data.x.shape[1]} features, {len(data.test_x):,} test samples"
    )
    rbf = functools.partial(SVC, **RBF)
    measure = functools.partial(_measure, report, data)
    # 20,000 MiB hold the whole kernel matrix of 60,000 samples.
    measure("RBF, cache 2,000 MiB", rbf, times=2)
    measure("linear", LinearSVC, times=2)
    measure("RBF, cache 20,000 MiB", functools.partial(rbf, cache_size=20_000), times=2)
    measure(f"RBF, {SUBSET:,} samples", rbf, times=2, samples=SUBSET)


def peers(report: Report) -> None:
    """Times scikit-learn on one core, while other parts run on the accelerator."""
    data = load(report)
    kinds: tuple[Any, Any] = (sklearn.svm.LinearSVC, sklearn.svm.SVC)
    linear = functools.partial(kinds[0], dual=False)
    rbf = functools.partial(kinds[1], **RBF, cache_size=8000)
    _measure(report, data, "scikit-learn, linear", linear)
    _measure(report, data, f"scikit-learn, RBF, {SUBSET:,} samples", rbf, samples=SUBSET)
    _measure(report, data, "scikit-learn, RBF", rbf)


def load(report: Report) -> Data:
    """Loads MNIST, or in a dry run the digits data set.

    Raises:
      InputError: a file is missing.
    """
    if report.dry:
        x, y = load_digits(return_X_y=True)
        x = (x / 16).astype(np.float32)
        return Data(x[:300], y[:300], x[1500:], y[1500:])
    dataset = idx.load(report.data_dir / "mnist")
    x, test_x = (
        split.inputs.reshape(len(split.inputs), -1).astype(np.float32) / 255
        for split in (dataset.train, dataset.test)
    )
    return Data(x, dataset.train.targets, test_x, dataset.test.targets)


def _measure(
    report: Report,
    data: Data,
    name: str,
    create: Callable[[], Any],
    *,
    times: int = 1,
    samples: int | None = None,
) -> None:
    found: dict[str, Any] = {"fit_seconds": [], "predict_seconds": []}

    def fit() -> None:
        for _ in range(times):
            model = create()
            begin = time.perf_counter()
            model.fit(data.x[:samples], data.y[:samples])
            found["fit_seconds"].append(time.perf_counter() - begin)
            found["relative_gap"] = getattr(model, "relative_gap_", None)
            report.note(**{name: found})
            begin = time.perf_counter()
            predicted = model.predict(data.test_x)
            found["predict_seconds"].append(time.perf_counter() - begin)
            found["accuracy"] = float(np.mean(predicted == data.test_y))
            report.note(**{name: found})

    if report.attempt(name, fit):
        gap = found["relative_gap"]
        report.say(
            f"{name}: fit {_list(found['fit_seconds'])} s, predict "
            f"{_list(found['predict_seconds'])} s, accuracy {found['accuracy']:.2%}"
            + (f", relative gap {gap:.1e}" if gap is not None else "")
        )


def _list(seconds: list[float]) -> str:
    return ", ".join(f"{each:.2f}" for each in seconds)
