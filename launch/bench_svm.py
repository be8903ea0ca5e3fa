"""Times support vector machines against scikit-learn: python -m launch.bench_svm --train=FILE.

All models are fitted to the same samples with the same C and kernel, alternately, in one process.
Compilation is reported separately. Each line ends with the objective, which must be equal for all.
scikit-learn runs with its best options: its linear model with both of its methods, its kernel model
with a cache of 2000 MB. oneDAL's kernel model is included if scikit-learn-intelex is installed.

To time several sizes: --samples=1000,4000,16000, or --features, or --classes, with --plot=FILE.svg.
"""

import importlib
import importlib.util
import itertools
import json
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.svm
from absl import flags
from sklearn.exceptions import ConvergenceWarning

from jaxml.config import user_path
from jaxml.data.sources import idx
from jaxml.errors import InputError
from jaxml.svm import SVC, LinearSVC, files
from launch import cli
from launch.benchmark.objectives import dual
from launch.outputs import check_output
from launch.support_vectors.compile_timer import compile_timer
from launch.support_vectors.config import SVMConfig

TRAIN = flags.DEFINE_string("train", "", "libsvm file, or a folder with MNIST's IDX files")
KERNEL = flags.DEFINE_enum("kernel", "linear", ["linear", "rbf"], "linear is one-vs-rest")
LOSS = flags.DEFINE_enum("loss", "squared_hinge", ["squared_hinge", "hinge"], "for linear models")
COST = flags.DEFINE_float("C", 1.0, "penalty parameter", lower_bound=0)
GAMMA = flags.DEFINE_string("gamma", "scale", "coefficient of rbf: a number, scale or auto")
SAMPLES = flags.DEFINE_list("samples", ["0"], "numbers of samples, the first ones; 0 for all")
FEATURES = flags.DEFINE_list("features", ["0"], "numbers of features, by variance; 0 for all")
CLASSES = flags.DEFINE_list("classes", ["0"], "numbers of classes, the first ones; 0 for all")
REPEATS = flags.DEFINE_integer("repeats", 3, "number of timed fits of each model", lower_bound=1)
PEER = flags.DEFINE_bool("peer", True, "whether to time scikit-learn")
TEST_SAMPLES = flags.DEFINE_integer("test_samples", 10_000, "samples to predict", lower_bound=1)
CACHE = flags.DEFINE_integer("cache_size", 2000, "MiB for rows of the kernel matrix", lower_bound=1)
RESULT = flags.DEFINE_string("result", "", "output file for the measurements as JSON")
PLOT = flags.DEFINE_string("plot", "", "output file for a plot: SVG, PNG or PDF")


def main() -> None:
    """Prints a line for each model and size."""
    if not TRAIN.value:
        raise InputError("--train must be given")
    SVMConfig(C=COST.value, gamma=GAMMA.value).check()
    sizes = list(itertools.product(*map(_sizes, (SAMPLES, FEATURES, CLASSES))))
    _check_outputs()
    x, y = _read(user_path(TRAIN.value))
    measurements = []
    for samples, features, classes in sizes:
        measurements += (found := _compare(*_subset(x, y, samples, features, classes)))
        print("\n".join(map(_line, found)), flush=True)
    if RESULT.value:
        user_path(RESULT.value).write_text(json.dumps(measurements, indent=1), encoding="utf-8")
    if PLOT.value:
        _plot(measurements, user_path(PLOT.value))


def _check_outputs() -> None:
    """Checks that the output files can be written at the end."""
    for flag in (RESULT, PLOT):
        check_output(f"--{flag.name}", user_path(flag.value) if flag.value else None)
    if PLOT.value and user_path(PLOT.value).suffix.lower() not in (".svg", ".png", ".pdf"):
        raise InputError(f"--plot must be a .svg, .png or .pdf file, got {PLOT.value}")


def _sizes(flag: flags.FlagHolder[list[str]]) -> list[int]:
    if not all(size.isdecimal() for size in flag.value):
        raise InputError(f"--{flag.name} must be a list of integers, got {','.join(flag.value)}")
    return [int(size) for size in flag.value]


def _subset(
    x: Any, y: np.ndarray, samples: int, features: int, classes: int
) -> tuple[Any, np.ndarray]:
    """Returns the first samples of the first classes, with the features of largest variance."""
    if features:
        squares = x.multiply(x) if hasattr(x, "multiply") else np.square(x)
        variance = np.asarray(squares.mean(0) - np.square(x.mean(0))).reshape(-1)
        x = x[:, np.sort(np.argsort(-variance, kind="stable")[:features])]
    if classes:
        chosen = np.isin(y, np.unique(y)[:classes])
        x, y = x[chosen], y[chosen]
    samples = samples or x.shape[0]
    return x[:samples], y[:samples]


def _compare(x: Any, y: np.ndarray) -> list[dict[str, Any]]:
    """Fits all models alternately and returns their measurements."""
    kinds = {"jaxml": _ours()} | (_peers() if PEER.value else {})
    with compile_timer() as compile_seconds:
        _seconds(lambda: kinds["jaxml"]().fit(x, y))
    size = {"samples": x.shape[0], "features": x.shape[1], "classes": len(np.unique(y))}
    counts = ", ".join(f"{count} {name}" for name, count in size.items())
    print(f"{KERNEL.value}, C={COST.value:g}; {counts}; compilation {compile_seconds():.2f} s")
    models = {name: [create() for _ in range(REPEATS.value)] for name, create in kinds.items()}
    fits: dict[str, list[float]] = {name: [] for name in kinds}
    predictions: dict[str, list[float]] = {name: [] for name in kinds}
    tested = x[: TEST_SAMPLES.value]
    for repeat, name in itertools.product(range(REPEATS.value), kinds):
        model = models[name][repeat]
        fits[name].append(_seconds(lambda model=model: model.fit(x, y)))
        predictions[name].append(_seconds(lambda model=model: model.predict(tested)))
    return [
        {"model": name, **size}
        | _spread("fit", fits[name], fits["jaxml"])
        | _spread("predict", predictions[name], predictions["jaxml"])
        | {"objective": _objective(models[name][-1], x, y)}
        for name in kinds
    ]


def _spread(name: str, seconds: list[float], ours: list[float]) -> dict[str, float]:
    return {
        f"{name}_seconds": statistics.median(seconds),
        f"{name}_min_seconds": min(seconds),
        f"{name}_max_seconds": max(seconds),
        f"{name}_ratio": statistics.median(a / b for a, b in zip(seconds, ours, strict=True)),
    }


def _line(measurement: dict[str, Any]) -> str:
    return (
        "  {model:24} fit {fit_seconds:8.3f} s ({fit_min_seconds:.3f} to {fit_max_seconds:.3f}), "
        "{fit_ratio:6.2f} x ours; predict {predict_seconds:7.3f} s, {predict_ratio:6.2f} x ours; "
        "objective {objective:.6f}"
    ).format(**measurement)


def _plot(measurements: Sequence[dict[str, Any]], file: Path) -> None:
    """Plots the seconds of a fit over the size that varies, on logarithmic axes."""
    from matplotlib.figure import Figure

    sizes = ("samples", "features", "classes")
    axis = next((name for name in sizes if len({m[name] for m in measurements}) > 1), "samples")
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for model in dict.fromkeys(m["model"] for m in measurements):
        own = [m for m in measurements if m["model"] == model]
        axes.loglog([m[axis] for m in own], [m["fit_seconds"] for m in own], "o-", label=model)
    axes.set(xlabel=axis, ylabel="seconds of a fit", title=f"{KERNEL.value}, C={COST.value:g}")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(file)


def _ours() -> Callable[[], Any]:
    if KERNEL.value == "linear":
        return lambda: LinearSVC(loss=LOSS.value, C=COST.value)
    return lambda: SVC(C=COST.value, gamma=_gamma(), cache_size=CACHE.value)


def _peers() -> dict[str, Callable[[], Any]]:
    if KERNEL.value == "rbf":
        kinds = {"scikit-learn": sklearn.svm.SVC}
        if importlib.util.find_spec("sklearnex"):
            kinds["oneDAL"] = importlib.import_module("sklearnex.svm").SVC
        options = {"C": COST.value, "gamma": _gamma(), "cache_size": CACHE.value}
        return {name: partial(kind, **options) for name, kind in kinds.items()}
    dual: list[bool] = [True] if LOSS.value == "hinge" else [False, True]
    linear: Any = sklearn.svm.LinearSVC
    return {
        f"scikit-learn, dual={way}": lambda way=way: linear(loss=LOSS.value, C=COST.value, dual=way)
        for way in dual
    }


def _gamma() -> Any:
    return GAMMA.value if GAMMA.value in ("scale", "auto") else float(GAMMA.value)


def _seconds(call: Callable[[], object]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.perf_counter()
        call()
        return time.perf_counter() - start


def _objective(model: Any, x: Any, y: np.ndarray) -> float:
    """Returns the primal of a linear model, or the dual of a kernel model, summed in float64."""
    if KERNEL.value == "rbf":
        return dual(model)
    classes = model.classes_ if len(model.classes_) > 2 else model.classes_[1:]
    values = x.astype(np.float64) @ model.coef_.T.astype(np.float64) + model.intercept_
    excess = np.maximum(0, 1 - np.where(y[:, None] == classes, 1, -1) * values)
    squares = np.square(model.coef_).sum() + np.square(model.intercept_).sum()
    total = (excess ** (1 + (LOSS.value == "squared_hinge"))).sum()
    return float(squares / 2 + COST.value * total)


def _read(path: Path) -> tuple[Any, np.ndarray]:
    if path.is_dir():
        images, labels = (idx.read(_find(path, f"train-{kind}*")) for kind in ("images", "labels"))
        return images.reshape(len(images), -1).astype(np.float32) / 255, labels
    examples = files.read_examples(path, dtype=np.float32)
    return examples.x, examples.labels


def _find(folder: Path, pattern: str) -> Path:
    """Returns the first file that matches a pattern."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise InputError(f"--train: {folder} must have a file {pattern}")
    return found[0]


if __name__ == "__main__":
    cli.run(main)
