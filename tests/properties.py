"""Property checks for pure functions, and a record of their largest errors against references.

`check` compares a function with an independent reference on one example; `agree` records a single
comparison. The suite prints the record as a table at its end.
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

# Every public function and class of these modules must be in the record.
MODULES = [
    "jaxml.activations",
    "jaxml.data.augment._color",
    "jaxml.data.augment._crop",
    "jaxml.data.augment._erase",
    "jaxml.data.augment._filter",
    "jaxml.data.augment._mix",
    "jaxml.data.augment._policies",
    "jaxml.data.augment._warp",
    "jaxml.initializers",
    "jaxml.layers",
    "jaxml.losses",
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
    "jaxml.svm.objectives",
    "jaxml.svm.objectives.box",
    "jaxml.svm.random_features",
    "jaxml.svm.reductions",
]

# (function, reference, dtype) -> largest error, relative to the largest expected magnitude.
record: dict[tuple[str, str, str], float] = {}


def agree(
    function: Callable[..., Any], actual: Any, expected: Any, *, by: str, rtol: float = 1e-5
) -> None:
    """Asserts that a result is close to the reference's, and records the error.

    Args:
      function: the public function that computed the result, a row of the table.
      actual: an array or a tree of arrays.
      expected: a tree of the same structure with finite values.
      by: name of the reference: "NumPy float64", "SciPy", "torch", "Keras", "scikit-learn", ...
      rtol: tolerance, relative to the largest magnitude of each expected leaf.
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

    - Compiled in float32, it is within `rtol` of the reference.
    - In float64, it is within 1e-10: no constant or sum is computed in float32.
    - In bfloat16, it is within a few rounding errors of the reference at the rounded inputs.
    - `vmap` over all arrays equals a loop.
    - Forward and reverse gradients agree with finite differences in float64.

    Args:
      function: called as `function(*arrays, **settings)`.
      *arrays: NumPy arrays; floating-point ones are converted to each dtype. None is passed on.
      reference: called as `reference(*arrays, **settings)` with float64 arrays.
      by: name of the reference, see `agree`.
      rtol: tolerance in float32, see `agree`.
      bfloat16: tolerance in rounding errors, or None to skip bfloat16.
      vmap: whether to check `vmap`.
      grads: highest order of the gradients to check; 0 skips them.
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
        agree(function, jitted(*double), expect(*_cast(arrays, np.float64)), by=by, rtol=1e-10)
        if grads:
            check_gradients(call, *double, order=grads)


def check_gradients(call: Callable[..., Any], *arrays: Any, order: int = 1) -> None:
    """Checks forward and reverse gradients for each floating-point array by finite differences."""
    floating = [i for i, a in enumerate(arrays) if a is not None and _floating(a)]

    def of_floating(*values: Any) -> Any:
        full = list(arrays)
        for i, value in zip(floating, values, strict=True):
            full[i] = jnp.asarray(value)  # check_grads passes NumPy arrays
        return jitted(*full)

    jitted = jax.jit(call)
    with jax.enable_x64(True):
        values = tuple(jnp.asarray(arrays[i], jnp.float64) for i in floating)
        check_grads(of_floating, values, order=order, modes=("fwd", "rev"), rtol=1e-5, atol=1e-5)


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Disables the type checks of the suite, so that a wrong shape raises the user's error."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def name_of(function: Callable[..., Any]) -> str:
    """Returns the public name of a function or a method: its package and its name there."""
    name = function.__qualname__
    if inspect.ismethod(function):
        # An inherited method belongs to the class that it is accessed by.
        owner = function.__self__
        function = owner if inspect.isclass(owner) else type(owner)
        name = f"{function.__qualname__}.{name.split('.')[-1]}"
    package, *inner = function.__module__.removeprefix("jaxml.").split(".")
    inner = [module for module in inner if not module.startswith("_")]
    package = f"{package}.{inner[-1]}" if package == "svm" and inner else package
    return f"{package}.{name}"


def public_names(module: Any) -> list[str]:
    """Returns the names of a module's public surface."""
    return getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]


def missing() -> list[str]:
    """Returns the public functions and classes that no test has compared with a reference."""
    done = {name for name, _, _ in record}
    done |= {name.rsplit(".", 1)[0] for name in done}  # a method counts for its class
    for name in [name for name in done if name.endswith(")")]:  # package.function(Class)
        function, _, argument = name[:-1].partition("(")
        done |= {function, f"{function.rsplit('.', 1)[0]}.{argument}"}
    public = set()
    for module in map(importlib.import_module, MODULES):
        for member in (getattr(module, name) for name in public_names(module)):
            tested = inspect.isfunction(member) or _has_methods(member)
            if tested and member.__module__.startswith(module.__name__):
                public.add(name_of(member))
    return sorted(public - done)


def table() -> list[str]:
    """Formats the record: a line per function and reference, with the error in each dtype."""
    dtypes = ["float64", "float32", "bfloat16"]
    rows = sorted({key[:2] for key in record})
    lines = [f"{'function':52} {'reference':16} " + " ".join(f"{d:>9}" for d in dtypes)]
    for function, by in rows:
        errors = [record.get((function, by, dtype)) for dtype in dtypes]
        cells = " ".join(f"{'-' if e is None else format(e, '.1e'):>9}" for e in errors)
        lines.append(f"{function:52} {by:16} {cells}")
    return lines


def _has_methods(member: Any) -> bool:
    """Returns whether a member is a class that defines public methods."""
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
