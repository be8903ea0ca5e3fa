"""Times a support vector machine beside scikit-learn's: python -m launch.bench_svm --train=FILE.

Both fit the same rows with the same C and kernel, in turns, in one process; compilation is told
apart. The peer's best settings: its linear machine is fitted by both of its methods, its kernel
machine with a cache of 2000 MB. Each line ends with both objectives, which must be equal.
"""

import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.svm
from absl import flags
from sklearn.exceptions import ConvergenceWarning

from jaxml.data import idx
from jaxml.svm.command.compile_clock import CompileClock
from jaxml.svm.estimators import SVC, LinearSVC
from jaxml.svm.files import libsvm_format
from launch import cli

TRAIN = flags.DEFINE_string("train", "", "libsvm file, or a folder with MNIST's IDX files")
KERNEL = flags.DEFINE_enum("kernel", "linear", ["linear", "rbf"], "linear is one-vs-rest")
LOSS = flags.DEFINE_enum("loss", "squared_hinge", ["squared_hinge", "hinge"], "of linear machines")
COST = flags.DEFINE_float("C", 1.0, "weight of the loss", lower_bound=0)
GAMMA = flags.DEFINE_string("gamma", "scale", "of rbf: a number, scale or auto")
ROWS = flags.DEFINE_list("rows", ["0"], "how many of the first rows, in turn; 0 takes all")
REPEATS = flags.DEFINE_integer("repeats", 3, "fits of each that are timed", lower_bound=1)
PEER = flags.DEFINE_bool("peer", True, "whether scikit-learn is fitted, too")
TEST_ROWS = flags.DEFINE_integer("test_rows", 10_000, "rows that are predicted", lower_bound=1)


def main() -> None:
    """Prints a line for each machine and number of rows."""
    x, y = _read(Path(TRAIN.value))
    print(f"{KERNEL.value}, C={COST.value:g}, {x.shape[1]} features, {len(np.unique(y))} classes")
    for rows in (int(rows) or x.shape[0] for rows in ROWS.value):
        _compare(x[:rows], y[:rows])


def _compare(x: Any, y: np.ndarray) -> None:
    machines = {"jaxml": _ours()}
    if PEER.value:
        machines |= _peers()
    with CompileClock() as clock:
        _seconds(machines["jaxml"](), x, y)
    print(f"{x.shape[0]} rows; compilation {clock.seconds:.2f} s")
    times: dict[str, list[float]] = {name: [] for name in machines}
    predictions: dict[str, list[float]] = {name: [] for name in machines}
    models = {}
    for _ in range(REPEATS.value):
        for name, create in machines.items():
            models[name] = create()
            times[name].append(_seconds(models[name], x, y))
            start = time.perf_counter()
            models[name].predict(x[: TEST_ROWS.value])
            predictions[name].append(time.perf_counter() - start)
    for name, model in models.items():
        fit, predict = statistics.median(times[name]), statistics.median(predictions[name])
        ratio = np.median(np.divide(times[name], times["jaxml"]))
        ahead = np.median(np.divide(predictions[name], predictions["jaxml"]))
        print(
            f"  {name:24} fit {fit:8.3f} s ({min(times[name]):.3f} to {max(times[name]):.3f}), "
            f"{ratio:6.2f} x ours; predict {predict:7.3f} s, {ahead:6.2f} x ours; "
            f"objective {_objective(model, x, y):.6f}",
            flush=True,
        )


def _ours() -> Callable[[], Any]:
    if KERNEL.value == "linear":
        return lambda: LinearSVC(loss=LOSS.value, C=COST.value)
    return lambda: SVC(C=COST.value, gamma=_gamma(), cache_size=2000)


def _peers() -> dict[str, Callable[[], Any]]:
    if KERNEL.value == "rbf":
        peer = sklearn.svm.SVC
        return {"scikit-learn": lambda: peer(C=COST.value, gamma=_gamma(), cache_size=2000)}
    dual: list[bool] = [True] if LOSS.value == "hinge" else [False, True]
    linear: Any = sklearn.svm.LinearSVC
    return {
        f"scikit-learn, dual={way}": lambda way=way: linear(loss=LOSS.value, C=COST.value, dual=way)
        for way in dual
    }


def _gamma() -> Any:
    return GAMMA.value if GAMMA.value in ("scale", "auto") else float(GAMMA.value)


def _seconds(model: Any, x: Any, y: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        start = time.perf_counter()
        model.fit(x, y)
        return time.perf_counter() - start


def _objective(model: Any, x: Any, y: np.ndarray) -> float:
    """Of linear machines the primal, of others the dual, summed over the problems, in float64."""
    if KERNEL.value == "rbf":
        return _dual(model)
    classes = model.classes_ if len(model.classes_) > 2 else model.classes_[1:]
    values = x.astype(np.float64) @ model.coef_.T.astype(np.float64) + model.intercept_
    excess = np.maximum(0, 1 - np.where(y[:, None] == classes, 1, -1) * values)
    squares = np.square(model.coef_).sum() + np.square(model.intercept_).sum()
    return squares / 2 + COST.value * (excess ** (1 + (LOSS.value == "squared_hinge"))).sum()


def _dual(model: Any) -> float:
    """From the coefficients and vectors of either library, pair by pair."""
    vectors = model.support_vectors_
    vectors = np.asarray(vectors.todense() if hasattr(vectors, "todense") else vectors, np.float64)
    coefficients = model.dual_coef_
    coefficients = np.asarray(
        coefficients.todense() if hasattr(coefficients, "todense") else coefficients
    )
    ends = np.cumsum([0, *model.n_support_])
    total = 0.0
    for i in range(len(model.n_support_)):
        for j in range(i + 1, len(model.n_support_)):
            a, b = slice(ends[i], ends[i + 1]), slice(ends[j], ends[j + 1])
            weight = np.r_[coefficients[j - 1, a], coefficients[i, b]]
            here = np.r_[vectors[a], vectors[b]]
            some = weight != 0
            weight, here = weight[some], here[some]
            norms = np.square(here).sum(1)
            gamma = model._gamma if hasattr(model, "_gamma") else model._space.gamma
            kernel = np.exp(-gamma * np.maximum(norms[:, None] + norms - 2 * here @ here.T, 0))
            total += np.abs(weight).sum() - weight @ kernel @ weight / 2
    return total


def _read(path: Path) -> tuple[Any, np.ndarray]:
    if path.is_dir():
        found = [sorted(path.glob(f"train-{kind}*"))[0] for kind in ("images", "labels")]
        images, labels = (idx.read(file) for file in found)
        return images.reshape(len(images), -1).astype(np.float32) / 255, labels
    examples = libsvm_format.read(path, dtype=np.float32)
    return examples.x, examples.labels


if __name__ == "__main__":
    cli.run(main, tune=False)
