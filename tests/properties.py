"""Properties of pure functions, and a record of their largest errors against references.

A test calls `check` with a function, an example and an independent reference; `agree` alone records
one comparison. The record is printed as a table when the suite ends.
"""

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
from jax.test_util import check_grads

from tests import references

# The modules whose public functions and classes must all be in the record.
MODULES = [
    "jaxml.activations",
    "jaxml.initializers",
    "jaxml.layers",
    "jaxml.losses",
    "jaxml.initializers.lsuv",
    "jaxml.metrics",
    "jaxml.normalize",
    "jaxml.predictions",
    "jaxml.regularizers",
    "jaxml.optim._averaging",
    "jaxml.optim._clipping",
    "jaxml.optim._create",
    "jaxml.optim._optimizers",
    "jaxml.optim._schedules",
    "jaxml.svm.calibration",
    "jaxml.svm.kernels",
    "jaxml.svm.nystroem",
    "jaxml.svm.objectives.binary",
    "jaxml.svm.objectives.box",
    "jaxml.svm.objectives.dual",
    "jaxml.svm.objectives.multiclass",
    "jaxml.svm.objectives.nu_svc",
    "jaxml.svm.objectives.nu_svr",
    "jaxml.svm.objectives.one_class",
    "jaxml.svm.objectives.regression",
    "jaxml.svm.random_features",
    "jaxml.svm.reductions",
]

# (function, reference, dtype) -> the largest error, relative to the largest magnitude expected.
record: dict[tuple[str, str, str], float] = {}


def agree(
    function: Callable[..., Any], actual: Any, expected: Any, *, by: str, rtol: float = 1e-5
) -> None:
    """Asserts that a result is close to that of a reference, and records the error.

    Args:
      function: the public function that made the result; the row of the table.
      actual: an array or a tree of arrays.
      expected: the same structure, of finite float64.
      by: who the reference is: "NumPy float64", "SciPy", "torch", "Keras", "scikit-learn", ...
      rtol: largest error allowed, relative to the largest magnitude of each expected leaf.
    """
    actual_leaves, expected_leaves = jax.tree.leaves(actual), jax.tree.leaves(expected)
    assert len(actual_leaves) == len(expected_leaves)
    for got, wanted in zip(actual_leaves, expected_leaves, strict=True):
        key = (name_of(function), by, str(np.asarray(got).dtype))
        references.assert_close(got, wanted, rtol, f"{key[0]} against {by}")
        got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
        scale = np.abs(wanted).max(initial=0.0) or 1.0
        error = np.abs(got - wanted).max(initial=0.0) / scale
        record[key] = max(record.get(key, 0.0), float(error))


def check(
    function: Callable[..., Any],
    *arrays: Any,
    reference: Callable[..., Any],
    by: str,
    rtol: float = 1e-5,
    bfloat16: float | None = 2.0,
    vmap: bool = True,
    grads: int = 1,
    **settings: Any,
) -> None:
    """Checks the properties of a pure function on one example.

    - float32, compiled: within `rtol` of the reference.
    - float64: within 1e-10 of it, so no constant or sum is float32 in disguise.
    - bfloat16: the inputs rounded, then the result within some roundings of the reference.
    - vmap over every array gives what the loop gives.
    - forward and reverse gradients agree with differences, in float64.

    Args:
      function: `function(*arrays, **settings)`.
      arrays: NumPy arrays; the floating ones take every dtype in turn, None stays.
      reference: `reference(*arrays, **settings)`, given float64 arrays.
      by: as in `agree`.
      rtol: as in `agree`, of float32.
      bfloat16: roundings allowed, None where the function does not take bfloat16.
      vmap: whether it maps.
      grads: order of the gradients that are checked by differences; 0 where there are none.
      **settings: Python values.
    """

    def call(*arrays: Any) -> Any:
        return function(*arrays, **settings)

    def expect(*arrays: Any) -> Any:
        return reference(*arrays, **settings)

    single = _cast(arrays, np.float32)
    jitted = references.plain_jit(call)
    agree(function, jitted(*single), expect(*_cast(single, np.float64)), by=by, rtol=rtol)
    if bfloat16 is not None:
        rounded = _cast(arrays, jnp.bfloat16)
        tolerance = bfloat16 * references.ROUNDING["bfloat16"]
        expected = expect(*_cast(rounded, np.float64))
        agree(function, jitted(*rounded), expected, by=by, rtol=tolerance)
    if vmap:
        given = [i for i, a in enumerate(arrays) if a is not None]
        halves = [single[i] / 2 if _floating(single[i]) else single[i] for i in given]
        pairs = [np.stack([single[i], half]) for i, half in zip(given, halves, strict=True)]

        def call_given(*entries: Any) -> Any:
            full: list[Any] = [None] * len(arrays)
            for i, entry in zip(given, entries, strict=True):
                full[i] = entry
            return call(*full)

        references.assert_vmap_is_loop(call_given, *pairs, rtol=rtol)
    with jax.enable_x64(True):
        double = [a if a is None else jnp.asarray(a) for a in _cast(arrays, np.float64)]
        agree(function, call(*double), expect(*_cast(arrays, np.float64)), by=by, rtol=1e-10)
        if grads:
            check_gradients(call, *double, order=grads)


def check_gradients(call: Callable[..., Any], *arrays: Any, order: int = 1) -> None:
    """Forward and reverse gradients agree with differences, for every floating array."""
    floating = [i for i, a in enumerate(arrays) if a is not None and _floating(a)]

    def of_floating(*values: Any) -> Any:
        full = list(arrays)
        for i, value in zip(floating, values, strict=True):
            full[i] = jnp.asarray(value)  # the differences come as NumPy arrays
        return call(*full)

    with jax.enable_x64(True):
        values = tuple(jnp.asarray(arrays[i], jnp.float64) for i in floating)
        check_grads(of_floating, values, order=order, modes=("fwd", "rev"), rtol=1e-5, atol=1e-5)


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Without the types of the suite: a wrong shape meets the error that a user sees."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def name_of(function: Callable[..., Any]) -> str:
    """How a user reaches a function or a method: the room and its name in there."""
    name = function.__qualname__
    if inspect.ismethod(function):
        # What is inherited is of the class that it was reached by.
        owner = function.__self__
        function = owner if inspect.isclass(owner) else type(owner)
        name = f"{function.__qualname__}.{name.split('.')[-1]}"
    room, *inner = function.__module__.removeprefix("jaxml.").split(".")
    # The forms of the support vector machine have functions of the same names.
    room = f"{room}.{inner[-1]}" if room == "svm" and inner else room
    return f"{room}.{name}"


def missing() -> list[str]:
    """Public functions, and classes with methods, that no test has compared with a reference."""
    done = {name for name, _, _ in record}
    done |= {name.rsplit(".", 1)[0] for name in done}  # a method speaks for its class
    public = set()
    for room in map(importlib.import_module, MODULES):
        names = getattr(room, "__all__", None) or [n for n in vars(room) if not n.startswith("_")]
        for member in (getattr(room, name) for name in names):
            meant = inspect.isfunction(member) or _has_methods(member)
            if meant and member.__module__.startswith(room.__name__):
                public.add(name_of(member))
    return sorted(public - done)


def table() -> list[str]:
    """The record: a line for each function and reference, with the error in each dtype."""
    dtypes = ["float64", "float32", "bfloat16"]
    rows = sorted({key[:2] for key in record})
    lines = [f"{'function':52} {'reference':16} " + " ".join(f"{d:>9}" for d in dtypes)]
    for function, by in rows:
        errors = [record.get((function, by, dtype)) for dtype in dtypes]
        cells = " ".join(f"{'-' if e is None else format(e, '.1e'):>9}" for e in errors)
        lines.append(f"{function:52} {by:16} {cells}")
    return lines


def _has_methods(member: Any) -> bool:
    """Whether it is a class with public methods of its own, more than a record of values."""
    if not inspect.isclass(member):
        return False
    prefix = f"{member.__qualname__}."
    methods = [getattr(m, "__func__", m) for n, m in vars(member).items() if not n.startswith("_")]
    return any(getattr(method, "__qualname__", "").startswith(prefix) for method in methods)


def _floating(array: Any) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)


def _cast(arrays: Any, dtype: Any) -> list[Any]:
    return [
        a if a is None or not _floating(np.asarray(a)) else np.asarray(a, dtype) for a in arrays
    ]
