"""Names of JAX and Flax have their arguments, defaults and values, or a documented reason.

`TABLE` has one row for each name that a public package of pure functions shares with `jax.nn`,
`jax.nn.initializers`, `flax.linen` or `jax.numpy`.
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import jaxml
from tests.properties import public_names, unchecked

PACKAGES = [
    "activations", "initializers", "layers", "losses", "metrics", "normalize", "predictions",
    "regularizers",
]  # fmt: skip
LIBRARIES = {
    "jax.nn": jax.nn,
    "jax.nn.initializers": jax.nn.initializers,
    "flax.linen": nn,
    "flax.linen.initializers": nn.initializers,
    "jax.numpy": jnp,
}


@dataclass(frozen=True)
class Same:
    """A function with their arguments, defaults and values.

    Attributes:
      calls: positional and keyword arguments after the first, to compare values with.
      ours: keyword-only arguments that theirs lacks.
      limits: whether values are compared at infinity too.
      rounded: whether values in bfloat16 are equal.
      reasons: sentences that the docstring of the function or its module contains.
    """

    calls: tuple[Any, ...] = ({},)
    ours: tuple[str, ...] = ()
    limits: bool = True
    rounded: bool = True
    reasons: tuple[str, ...] = ("integers raise `TypeError`",)


@dataclass(frozen=True)
class Namesake:
    """A different function of the same name, which the docstring says."""

    reasons: tuple[str, ...] = field()


RELU = ("`jax.nn` returns NaN there",)
WIDE = ("compute in float32 at least and round the result",)
DRAWS = ("draw in float32 at least before rounding", "raise `TypeError` for integer")
AXES = ({}, {"in_axis": -1, "out_axis": -2}, {"in_axis": (0, 1), "batch_axis": 2}, (-1, -2, 0))

SCALED = Same(calls=AXES, ours=("groups",), rounded=False, reasons=DRAWS)
DRAWN = {
    "normal": Same(calls=({}, (0.3,)), rounded=False, reasons=DRAWS),
    "uniform": Same(calls=({}, (0.3,)), rounded=False, reasons=DRAWS),
    "truncated_normal": Same(
        calls=({}, (0.3,), {"lower": -1.0, "upper": 0.5}),
        rounded=False,
        reasons=(*DRAWS, "may draw the largest number of the dtype"),
    ),
    "variance_scaling": Same(
        calls=(
            (2.0, "fan_in", "normal", -1, (0, 1)),
            (2.0, "fan_out", "truncated_normal"),
            (0.5, "fan_avg", "uniform", -2, -1, 0),
            (0.5, "fan_geo_avg", "normal"),
        ),
        ours=("groups",),
        rounded=False,
        reasons=DRAWS,
    ),
    **{
        f"{name}_{distribution}": SCALED
        for name in ("glorot", "he", "kaiming", "lecun", "xavier")
        for distribution in ("normal", "uniform")
    },
    "orthogonal": Same(calls=({}, (2.0, 0)), rounded=False, reasons=DRAWS),
    "delta_orthogonal": Same(calls=({}, (2.0,)), rounded=False, reasons=DRAWS),
}
FUNCTIONS = {
    **dict.fromkeys(
        ["hard_sigmoid", "hard_tanh", "relu", "relu6", "selu", "sigmoid", "softplus", "tanh"],
        Same(),
    ),
    **dict.fromkeys(
        ["hard_silu", "hard_swish", "mish", "silu", "swish"],
        Same(limits=False, reasons=RELU),
    ),
    "celu": Same(calls=({}, (0.5,)), reasons=("`jax.nn.celu` does not check",)),
    "elu": Same(calls=({}, (0.5,))),
    "gelu": Same(calls=({}, (False,), {"approximate": True}), limits=False, reasons=RELU),
    "leaky_relu": Same(calls=({}, (0.2,))),
    "log_softmax": Same(calls=({}, (0,), {"axis": None}), rounded=False, reasons=WIDE),
    "softmax": Same(calls=({}, (0,), {"axis": (0, 1)}), rounded=False, reasons=WIDE),
}
TABLE: dict[tuple[str, str], Same | Namesake] = {
    **{("activations", name): row for name, row in FUNCTIONS.items()},
    **{("initializers", name): row for name, row in DRAWN.items()},
    ("initializers", "identity"): Namesake(("neither the matrix of `jax.numpy.identity`",)),
    ("layers", "max_pool"): Same(
        calls=(((2, 2),), ((3, 2), (2, 1), "SAME"), ((2, 2), (2, 2), ((1, 1), (0, 1)))),
        ours=("ceil_mode", "deterministic"),
        reasons=("which rejects integers",),
    ),
}
# Objects of JAX itself.
SHARED = {("initializers", name) for name in ("constant", "ones", "zeros")}
# Compared with jax.lax.top_k in tests/losses; newer versions of jax.numpy have it too.
ELSEWHERE = {("predictions", "top_k")}
SAME = [name for name, row in TABLE.items() if isinstance(row, Same)]


def ours(package: str, name: str) -> Callable[..., Any]:
    return getattr(getattr(jaxml, package), name)


def theirs(package: str, name: str) -> dict[str, Callable[..., Any]]:
    """The functions of the name in the libraries that compete with a package."""
    libraries = dict(LIBRARIES)
    if package == "initializers":  # `jax.numpy.ones` returns an array
        libraries = {key: libraries[key] for key in libraries if key.endswith("initializers")}
    return {key: vars(lib)[name] for key, lib in libraries.items() if name in vars(lib)}


def split(call: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return ((), call) if isinstance(call, dict) else (call, {})


def test_the_table_has_every_shared_name():
    shared = set()
    for package in PACKAGES:
        module = importlib.import_module(f"jaxml.{package}")
        for library in LIBRARIES.values():
            names = {name for name in public_names(module) if callable(getattr(module, name))}
            shared |= {(package, name) for name in names & set(dir(library))}
    assert shared - ELSEWHERE == set(TABLE) | SHARED
    for package, name in SHARED:
        assert ours(package, name) is getattr(jax.nn.initializers, name)


@pytest.mark.parametrize(("package", "name"), SAME)
def test_arguments_and_defaults_are_theirs(package, name):
    row = TABLE[package, name]
    assert isinstance(row, Same)
    keywords = row.ours

    def parameters(function):
        given = list(inspect.signature(function).parameters.values())
        given = given[1:] if package != "initializers" else given  # x or inputs
        return [(p.name, p.kind, p.default) for p in given if p.name not in keywords]

    for library, function in theirs(package, name).items():
        assert parameters(ours(package, name)) == parameters(function), library
    for keyword in keywords:
        kind = inspect.signature(ours(package, name)).parameters[keyword].kind
        assert kind is inspect.Parameter.KEYWORD_ONLY


def inputs(row: Same) -> np.ndarray:
    extremes = [-1e4, -88.0, -20.0, -3.0, -1.0, -0.0, 0.0, 1e-30, 1.0, 6.0, 20.0, 88.0, 1e4, np.nan]
    extremes += [np.inf, -np.inf] if row.limits else []
    x = np.random.default_rng(0).normal(size=(4, 6, 5, 3)) * 3
    x.flat[: len(extremes)] = extremes
    return x.astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(("package", "name"), [key for key in SAME if key[0] != "initializers"])
def test_values_are_theirs(package, name):
    row = TABLE[package, name]
    assert isinstance(row, Same)
    x = jnp.asarray(inputs(row))
    dtypes = [jnp.float32, jnp.bfloat16] if row.rounded else [jnp.float32]
    for dtype in dtypes:
        for positional, keywords in map(split, row.calls):
            for library, function in theirs(package, name).items():
                expected = function(x.astype(dtype), *positional, **keywords)
                actual = ours(package, name)(x.astype(dtype), *positional, **keywords)
                assert actual.dtype == expected.dtype == dtype
                # In float64, because NumPy takes NaN of bfloat16 for unequal.
                got, wanted = (np.asarray(y, np.float64) for y in (actual, expected))
                np.testing.assert_array_equal(got, wanted, f"{library}, {positional}")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_masks_are_theirs(name):
    x = jnp.asarray(inputs(FUNCTIONS["relu6"]))
    for shape in (x.shape, (4, 1, 1, 3)):
        where = jnp.asarray(np.random.default_rng(1).random(shape) > 0.4)
        expected = getattr(jax.nn, name)(x, where=where)
        actual = getattr(jaxml.activations, name)(x, where=where)
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("x64", [False, True])
def test_draws_are_theirs(name, x64):
    shape, key = (3, 4, 6, 8), jax.random.key(3)
    with jax.enable_x64(x64):
        for positional, keywords in map(split, DRAWN[name].calls):
            for library, function in theirs("initializers", name).items():
                expected = function(*positional, **keywords)
                actual = ours("initializers", name)(*positional, **keywords)
                draw, wanted = actual(key, shape), expected(key, shape)
                assert draw.dtype == wanted.dtype
                np.testing.assert_array_equal(draw, wanted, f"{library}, {positional}")
    positional, keywords = split(DRAWN[name].calls[-1])
    default = ours("initializers", name)(*positional, **keywords, dtype=jnp.float16)
    assert default(key, shape).dtype == jnp.float16


@pytest.mark.parametrize(("package", "name"), TABLE)
def test_each_difference_is_documented(package, name):
    function = ours(package, name)
    module = importlib.import_module(f"jaxml.{package}")
    text = " ".join(f"{function.__doc__}\n{module.__doc__}".split())
    for reason in TABLE[package, name].reasons:
        assert reason in text


@pytest.mark.parametrize("name", ["gelu", "hard_silu", "hard_swish", "mish", "silu", "swish"])
def test_the_difference_at_infinity_is_still_there(name):
    x = jnp.asarray([-jnp.inf])
    assert np.isnan(getattr(jax.nn, name)(x)).all()
    assert not getattr(jaxml.activations, name)(x).any()


def test_integers_are_the_other_difference():
    for name in FUNCTIONS:
        with unchecked(), pytest.raises(TypeError, match="must be floating-point"):
            getattr(jaxml.activations, name)(jnp.arange(3))
    assert jax.nn.relu(jnp.arange(3)).dtype == jnp.int32


def test_convolutions_are_those_of_lax_in_another_layout():
    rng = np.random.default_rng(0)
    x, kernel = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((2, 7, 6, 3), (3, 2, 3, 4)))
    expected = jax.lax.conv(
        jnp.moveaxis(x, -1, 1), jnp.transpose(kernel, (3, 2, 0, 1)), (2, 1), "SAME"
    )
    actual = jaxml.layers.conv(x, kernel, strides=(2, 1))
    np.testing.assert_allclose(actual, jnp.moveaxis(expected, 1, -1), rtol=1e-5, atol=1e-5)
    assert "`jax.lax.conv` takes NCHW images" in " ".join(str(jaxml.layers.conv.__doc__).split())
    for padding in ("SAME", "VALID"):
        expected = jax.lax.conv_transpose(actual, kernel, (2, 3), padding, transpose_kernel=True)
        upsampled = jaxml.layers.conv_transpose(actual, kernel, strides=(2, 3), padding=padding)
        np.testing.assert_allclose(upsampled, expected, rtol=1e-5, atol=1e-5)
    assert "`jax.lax.conv_transpose` computes the same" in str(jaxml.layers.conv_transpose.__doc__)
