"""Checks an accelerator against the CPU: convolutions, a training step, a kernel SVM."""

import functools
import importlib.metadata
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import sklearn.svm
from sklearn.datasets import load_digits

from jaxml.config import LossConfig, ModelConfig
from jaxml.layers import conv
from jaxml.models import create_model
from jaxml.normalize import UnitInterval
from jaxml.svm.estimators import SVC
from jaxml.training.objective import create_objective
from jaxml.training.steps import Learner, TrainState, train_step
from jaxml.types import Batch
from launch.benchmark import ceilings, convolutions
from launch.benchmark.campaign.report import Report
from launch.benchmark.objectives import dual
from launch.benchmark.task import Task, cores, random_images

# Dtype of the computation and precision of products. By default, a GPU multiplies float32 as TF32.
MODES = {
    "float32": ("float32", None),
    "float32 highest": ("float32", "highest"),
    "bfloat16": ("bfloat16", None),
}
# Tolerances, as relative errors. Those of a step are larger: if the input of a ReLU is near zero, a
# small error switches the unit on or off.
OF_CONVOLUTIONS = {"float32": 2e-3, "float32 highest": 1e-5, "bfloat16": 2e-2}
OF_LOSSES = {"float32": 1e-2, "float32 highest": 1e-5, "bfloat16": 5e-2}
OF_GRADIENTS = {"float32": 1e-1, "float32 highest": 1e-2, "bfloat16": 5e-1}


def run(report: Report) -> None:
    """Runs all checks, including those after a failed one."""
    report.attempt("environment", lambda: describe_environment(report))
    report.attempt("convolutions", lambda: check_convolutions(report))
    report.attempt("kernel SVM", lambda: check_svc(report))
    report.attempt("ceilings", lambda: measure_ceilings(report))
    report.attempt("training step", lambda: check_step(report))


def describe_environment(report: Report) -> None:
    """Reports the device and the versions."""
    device = jax.devices()[0]
    packages = ("jax", "jaxlib", "flax", "optax", "numpy", "torch")
    versions = {name: _version(name) for name in packages}
    memory = (device.memory_stats() or {}).get("bytes_limit", 0)
    report.note(
        backend=jax.default_backend(), device=device.device_kind, memory=memory, versions=versions
    )
    report.say(
        f"{jax.default_backend()}: {len(jax.devices())} x {device.device_kind}, "
        f"{memory / 2**30:.1f} GiB, {cores()} cores"
    )
    report.say(", ".join(f"{name} {version}" for name, version in versions.items()))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def measure_ceilings(report: Report) -> None:
    """Times a large matrix product in three precisions, and a large copy."""
    found: dict[str, float] = {}
    repeats = 1 if report.dry else 10
    for mode, (dtype, precision) in MODES.items():
        with jax.default_matmul_precision(precision):
            work = ceilings.operations(jnp.dtype(dtype))
            product, copy = work[ceilings.PRODUCT], work[ceilings.COPY]
            found[mode] = product.flops / _seconds(product.call, repeats)
            if "copy" not in found:
                found["copy"] = copy.bytes_moved / _seconds(copy.call, repeats)
    report.note(ceilings=found)
    rates = ", ".join(f"{mode} {found[mode] / 1e12:.2f} TFLOP/s" for mode in MODES)
    report.say(f"matrix product: {rates}; copy: {found['copy'] / 1e9:,.0f} GB/s")


def _seconds(call: Callable[[], object], repeats: int) -> float:
    """Returns the median after one call that is not counted."""
    taken = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken[1:])


def check_convolutions(report: Report) -> None:
    """Compares values and gradients of convolutions with float64 on the CPU."""
    errors = dict.fromkeys(MODES, 0.0)
    batch = 2 if report.dry else 32
    for number, (size, channels) in enumerate(convolutions.SHAPES):
        generator = np.random.default_rng(number)
        shapes = (batch, size, size, channels), (3, 3, channels, channels)
        x, kernel, y = (generator.normal(size=shape) for shape in (*shapes, shapes[0]))
        with jax.enable_x64(True), jax.default_device(jax.devices("cpu")[0]):
            wanted = [np.asarray(array) for array in jax.jit(_value_and_gradients)(x, kernel, y)]
        for mode, (dtype, precision) in MODES.items():
            with jax.default_matmul_precision(precision):
                arrays = [jnp.asarray(array, dtype) for array in (x, kernel, y)]
                # A new function for each precision, so that none comes from the cache of jit.
                found = jax.jit(lambda *arrays: _value_and_gradients(*arrays))(*arrays)
            largest = max(map(_error, found, wanted))
            errors[mode] = max(errors[mode], largest)
    _judge(report, "convolutions, value and gradients", errors, OF_CONVOLUTIONS)


def _value_and_gradients(x: Any, kernel: Any, y: Any) -> tuple[Any, Any, Any]:
    value, back = jax.vjp(lambda x, kernel: conv(x, kernel, padding=1), x, kernel)
    return value, *back(y)


def check_step(report: Report) -> None:
    """Compares loss and gradient of a training step with float64 on the CPU."""
    model, size, batch = ("mlp", 8, 4) if report.dry else ("resnet20v1", 32, 32)
    task = Task("train_step", model, batch, size, 10)
    cpu, start = jax.devices("cpu")[0], _start(task)
    with jax.enable_x64(True), jax.default_device(cpu):
        loss, gradient = _step(task, start, "float64", None)
    losses, gradients = {}, {}
    for mode, (dtype, precision) in MODES.items():
        found, direction = _step(task, start, dtype, precision)
        losses[mode] = abs(found - loss) / loss
        gradients[mode] = _error(direction, gradient)
    report.note(loss=loss)
    _judge(report, f"{model}, loss of a training step", losses, OF_LOSSES)
    _judge(report, f"{model}, gradient of a training step", gradients, OF_GRADIENTS)


def _learner(task: Task, dtype: str) -> Learner:
    """Returns gradient descent with learning rate 1, whose update is the gradient."""
    return Learner(
        create_model(ModelConfig(name=task.model, dtype=dtype), num_classes=task.num_classes),
        create_objective(LossConfig(), num_classes=task.num_classes),
        optax.sgd(1.0),
    )


def _start(task: Task) -> TrainState:
    """Initializes the state on the CPU, so that it is the same for all precisions."""
    learner = _learner(task, "float32")
    with jax.default_device(jax.devices("cpu")[0]):
        create = jax.jit(
            lambda key: TrainState.create(key, learner, UnitInterval(), task.batch_shape[1:])
        )
        return jax.device_get(create(jax.random.key(0)))


def _step(task: Task, start: TrainState, dtype: str, precision: Any) -> tuple[float, np.ndarray]:
    """Takes one step; returns the loss and the gradient."""
    learner = _learner(task, dtype)
    state = jax.tree.map(jnp.asarray, start)
    batch = Batch(*map(jnp.asarray, random_images(task, task.batch_size)))
    with jax.default_matmul_precision(precision):
        step = jax.jit(functools.partial(train_step, jax.random.key(1), learner))
        after, metrics = step(state, batch)
    change = jax.tree.map(
        lambda old, new: (np.float64(old) - np.float64(new)).ravel(), state.params, after.params
    )
    means = learner.objective.compute(jax.device_get(metrics))
    return float(means["loss"]), np.concatenate(jax.tree.leaves(change))


def check_svc(report: Report) -> None:
    """Compares dual objective and predictions of a kernel SVM with scikit-learn."""
    x, y = load_digits(return_X_y=True)
    x, count = (x / 16).astype(np.float32), 200 if report.dry else 1000
    kinds: tuple[Any, Any] = (SVC, sklearn.svm.SVC)
    found, peer = (kind(C=5.0, gamma=0.05).fit(x[:count], y[:count]) for kind in kinds)
    wanted = dual(peer)
    error = abs(dual(found) - wanted) / wanted
    equal = float(np.mean(found.predict(x[count:]) == peer.predict(x[count:])))
    report.note(svc={"dual": dual(found), "peer": wanted, "equal_predictions": equal})
    _judge(report, "SVC, dual objective", {"float32": error}, {"float32": 1e-4})
    report.say(f"SVC, predictions equal to scikit-learn's: {equal:.2%}")


def _error(found: Any, wanted: np.ndarray) -> float:
    found = np.asarray(found).astype(np.float64)
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def _judge(report: Report, what: str, errors: dict[str, float], most: dict[str, float]) -> None:
    """Reports relative errors; an error that is NaN or above its tolerance is a failure."""
    wrong = [mode for mode, error in errors.items() if not error <= most[mode]]
    listed = ", ".join(
        f"{mode} {error:.1e} (at most {most[mode]:.0e})" for mode, error in errors.items()
    )
    report.note(**{what: errors})
    report.say(f"{what}: {listed}: {'TOO LARGE in ' + ', '.join(wrong) if wrong else 'ok'}")
    if wrong:
        report.fail(what)
