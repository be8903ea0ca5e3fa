"""Times a support vector machine beside scikit-learn's: python -m launch.bench_svm --train=FILE.

Both fit the same rows with the same C and kernel, in turns, in one process; compilation is told
apart. The peer's best settings: its linear machine is fitted by both of its methods, its kernel
machine with a cache of 2000 MB. Each line ends with both objectives, which must be equal. oneDAL's
kernel machine is a third where scikit-learn-intelex is installed.

How time grows: --rows=1000,4000,16000, or --features, or --classes, with --plot=FILE.svg.
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
from jaxml.svm.command.compile_clock import CompileClock
from jaxml.svm.command.experiment import check_output
from jaxml.svm.command.machine_settings import MachineSettings
from jaxml.svm.estimators import SVC, LinearSVC
from jaxml.svm.files import libsvm_format
from launch import cli
from launch.benchmark.objectives import dual

TRAIN = flags.DEFINE_string("train", "", "libsvm file, or a folder with MNIST's IDX files")
KERNEL = flags.DEFINE_enum("kernel", "linear", ["linear", "rbf"], "linear is one-vs-rest")
LOSS = flags.DEFINE_enum("loss", "squared_hinge", ["squared_hinge", "hinge"], "of linear machines")
COST = flags.DEFINE_float("C", 1.0, "weight of the loss", lower_bound=0)
GAMMA = flags.DEFINE_string("gamma", "scale", "of rbf: a number, scale or auto")
ROWS = flags.DEFINE_list("rows", ["0"], "how many of the first rows, in turn; 0 takes all")
FEATURES = flags.DEFINE_list("features", ["0"], "how many, those that vary most; 0 takes all")
CLASSES = flags.DEFINE_list("classes", ["0"], "how many of the first classes; 0 takes all")
REPEATS = flags.DEFINE_integer("repeats", 3, "fits of each that are timed", lower_bound=1)
PEER = flags.DEFINE_bool("peer", True, "whether scikit-learn is fitted, too")
TEST_ROWS = flags.DEFINE_integer("test_rows", 10_000, "rows that are predicted", lower_bound=1)
CACHE = flags.DEFINE_integer("cache_size", 2000, "MiB for rows of the kernel", lower_bound=1)
RESULT = flags.DEFINE_string("result", "", "JSON file for the figures")
PLOT = flags.DEFINE_string("plot", "", "SVG, PNG or PDF file for a plot of them")


def main() -> None:
    """Prints a line for each machine and size."""
    if not TRAIN.value:
        raise InputError("--train: a file is needed")
    MachineSettings(C=COST.value, gamma=GAMMA.value).check()
    sizes = list(itertools.product(*map(_sizes, (ROWS, FEATURES, CLASSES))))
    _check_outputs()
    x, y = _read(user_path(TRAIN.value))
    figures = []
    for rows, features, classes in sizes:
        figures += (found := _compare(*_part(x, y, rows, features, classes)))
        print("\n".join(map(_line, found)), flush=True)
    if RESULT.value:
        user_path(RESULT.value).write_text(json.dumps(figures, indent=1), encoding="utf-8")
    if PLOT.value:
        _plot(figures, user_path(PLOT.value))


def _check_outputs() -> None:
    """Checks that what is written at the end can be."""
    for flag in (RESULT, PLOT):
        check_output(f"--{flag.name}", user_path(flag.value) if flag.value else None)
    if not PLOT.value:
        return
    if user_path(PLOT.value).suffix.lower() not in (".svg", ".png", ".pdf"):
        raise InputError(f"--plot: {PLOT.value} is no .svg, .png or .pdf file")
    try:
        importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise InputError("--plot: matplotlib is not installed: pip install matplotlib") from error


def _sizes(flag: flags.FlagHolder[list[str]]) -> list[int]:
    if not all(size.isdecimal() for size in flag.value):
        raise InputError(f"--{flag.name}: {','.join(flag.value)} is not a list of integers")
    return [int(size) for size in flag.value]


def _part(x: Any, y: np.ndarray, rows: int, features: int, classes: int) -> tuple[Any, np.ndarray]:
    """The first rows of the first classes, with the features that vary most among all rows."""
    if features:
        squares = x.multiply(x) if hasattr(x, "multiply") else np.square(x)
        variance = np.asarray(squares.mean(0) - np.square(x.mean(0))).reshape(-1)
        x = x[:, np.sort(np.argsort(-variance, kind="stable")[:features])]
    if classes:
        chosen = np.isin(y, np.unique(y)[:classes])
        x, y = x[chosen], y[chosen]
    rows = rows or x.shape[0]
    return x[:rows], y[:rows]


def _compare(x: Any, y: np.ndarray) -> list[dict[str, Any]]:
    """Fits each machine in turns; the figures of each."""
    machines = {"jaxml": _ours()} | (_peers() if PEER.value else {})
    with CompileClock() as clock:
        _seconds(lambda: machines["jaxml"]().fit(x, y))
    size = {"rows": x.shape[0], "features": x.shape[1], "classes": len(np.unique(y))}
    told = ", ".join(f"{count} {name}" for name, count in size.items())
    print(f"{KERNEL.value}, C={COST.value:g}; {told}; compilation {clock.seconds:.2f} s")
    models = {name: [create() for _ in range(REPEATS.value)] for name, create in machines.items()}
    fits: dict[str, list[float]] = {name: [] for name in machines}
    predictions: dict[str, list[float]] = {name: [] for name in machines}
    for repeat in range(REPEATS.value):
        for name in machines:
            model = models[name][repeat]
            fits[name].append(_seconds(lambda model=model: model.fit(x, y)))
            some = x[: TEST_ROWS.value]
            predictions[name].append(_seconds(lambda model=model, x=some: model.predict(x)))
    return [
        {"machine": name, **size}
        | _spread("fit", fits[name], fits["jaxml"])
        | _spread("predict", predictions[name], predictions["jaxml"])
        | {"objective": _objective(models[name][-1], x, y)}
        for name in machines
    ]


def _spread(what: str, seconds: list[float], ours: list[float]) -> dict[str, float]:
    return {
        f"{what}_seconds": statistics.median(seconds),
        f"{what}_min_seconds": min(seconds),
        f"{what}_max_seconds": max(seconds),
        f"{what}_ratio": statistics.median(a / b for a, b in zip(seconds, ours, strict=True)),
    }


def _line(figure: dict[str, Any]) -> str:
    return (
        "  {machine:24} fit {fit_seconds:8.3f} s ({fit_min_seconds:.3f} to {fit_max_seconds:.3f}), "
        "{fit_ratio:6.2f} x ours; predict {predict_seconds:7.3f} s, {predict_ratio:6.2f} x ours; "
        "objective {objective:.6f}"
    ).format(**figure)


def _plot(figures: Sequence[dict[str, Any]], file: Path) -> None:
    """Seconds of a fit over whatever differs in size, both in logarithms."""
    from matplotlib.figure import Figure

    sizes = ("rows", "features", "classes")
    axis = next((name for name in sizes if len({f[name] for f in figures}) > 1), "rows")
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for machine in dict.fromkeys(f["machine"] for f in figures):
        mine = [f for f in figures if f["machine"] == machine]
        axes.loglog([f[axis] for f in mine], [f["fit_seconds"] for f in mine], "o-", label=machine)
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
        settings = {"C": COST.value, "gamma": _gamma(), "cache_size": CACHE.value}
        return {name: partial(kind, **settings) for name, kind in kinds.items()}
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
    """Of linear machines the primal, of others the dual, summed over the problems, in float64."""
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
    examples = libsvm_format.read(path, dtype=np.float32)
    return examples.x, examples.labels


def _find(folder: Path, pattern: str) -> Path:
    """The first file of a pattern."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise InputError(f"--train: {folder}: holds no {pattern}")
    return found[0]


if __name__ == "__main__":
    cli.run(main, tune=False)
