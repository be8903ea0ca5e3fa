"""Functions named as in optax have the same arguments, defaults and values.

`CASES` lists them; each exception has a reason, which is tested. `OTHERS` says of every other name
which function of optax is nearest and why ours exists.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxml import optim
from tests import references

SPACES = (optax, optax.contrib, optax.losses, optax.projections, optax.schedules, optax.tree)


class Case(NamedTuple):
    """A function that both libraries have.

    Attributes:
      theirs: The function of optax.
      arguments: Arguments of both.
      left_out: Parameters of theirs that ours does not have, with the reason.
      differs: Gradients and parameters for which the values differ.
      reason: The reason for that difference.
    """

    theirs: Callable[..., Any]
    arguments: dict[str, Any]
    left_out: dict[str, str]
    differs: tuple[Any, Any]
    reason: str


W = np.array([[0.5, -1.0, 2.0], [1.0, 0.25, -0.5]], np.float32)
G = np.array([[3.0, -4.0, 0.01], [1.0, 2.0, 0.02]], np.float32)
NORMS = "our norms do not underflow"
CASES = {
    "adaptive_grad_clip": Case(
        optax.adaptive_grad_clip,
        {"clipping": 0.1},
        {"axis": "a unit is always one index of the last dimension"},
        (G[:1], W[:1]),
        "optax takes one norm of a kernel [1, out] with several units",
    ),
    "clip_by_global_norm": Case(
        optax.clip_by_global_norm,
        {"max_norm": 0.5},
        {},
        (G * np.float32(1e20), W),
        "the norm overflows in optax",
    ),
    "lamb": Case(
        optax.lamb,
        {"learning_rate": 0.1, "weight_decay": 0.01},
        {},
        (G, W * np.float32(1e-25)),
        "the norm of the parameters underflows in optax",
    ),
    "lars": Case(
        optax.lars,
        {"learning_rate": 0.1, "weight_decay": 0.01},
        {"eps": NORMS},
        (G * np.float32(1e-25), W * np.float32(1e-25)),
        "the norms underflow in optax",
    ),
    "normalize": Case(
        optax.contrib.normalize,
        {},
        {},
        (G * np.float32(1e-25), W),
        "the norm underflows in optax",
    ),
    "scale_by_trust_ratio": Case(
        optax.scale_by_trust_ratio,
        {"trust_coefficient": 0.5},
        {"min_norm": NORMS, "eps": NORMS},
        (G * np.float32(1e-25), W),
        "the norm of the update underflows in optax",
    ),
}
OTHERS = {
    "OPTIMIZERS": "optax has no table of its optimizers",
    "SCHEDULES": "optax has no table of its schedules",
    "Average": "optax.EmaState; ours is the state of every averaging",
    "Averaging": "optax.GradientTransformation; ours has three functions, of variables",
    "averaged_momentum": "optax.ema and optax.scale_by_learning_rate in a chain",
    "check_pattern": "optax has no patterns",
    "create_averaging": "reads a config",
    "create_optimizer": "reads a config",
    "create_schedule": "reads a config",
    "scale_learning_rate": "changes a config",
    "decay_mask": "optax has no masks of its own",
    "ema_averaging": "optax.ema, whose bias correction cancels in float32 (test_averaging.py)",
    "inverse_sqrt_schedule": "optax has none",
    "inverse_time_schedule": "optax has none",
    "is_frozen": "optax.freeze takes a mask; ours is the pattern behind it",
    "keep_frozen": "optax.freeze acts on updates; ours acts on parameters",
    "lookahead_averaging": "optax.lookahead, with equal steps (test_averaging.py)",
    "no_averaging": "optax.identity, for averagings",
    "swa_averaging": "optax has none",
}


def test_every_name_is_compared():
    shared = {name for name in optim.__all__ for space in SPACES if hasattr(space, name)}
    assert shared == set(CASES)
    assert set(optim.__all__) - shared == set(OTHERS)


@pytest.mark.parametrize("name", CASES)
def test_the_signature_is_that_of_optax(name):
    ours = inspect.signature(getattr(optim, name)).parameters
    theirs = inspect.signature(CASES[name].theirs).parameters
    left_out = CASES[name].left_out
    assert [*ours] == [other for other in theirs if other not in left_out]
    assert set(left_out) <= set(theirs)
    for parameter in ours.values():
        assert parameter.default == theirs[parameter.name].default
    # After a parameter that is left out, the others cannot be given by position.
    kept = True
    for other in theirs:
        kept = kept and other not in left_out
        if other in ours and not kept:
            assert ours[other].kind is inspect.Parameter.KEYWORD_ONLY


def two_updates(create, gradient, params):
    """Returns the second of two updates."""
    transformation = create()

    @jax.jit
    def run(gradient, params):
        with jax.numpy_dtype_promotion("standard"):
            state = transformation.init(params)
            _, state = transformation.update(gradient, state, params)
            return transformation.update(gradient, state, params)[0]

    return run({"kernel": jnp.asarray(gradient)}, {"kernel": jnp.asarray(params)})


def updates_of(name, gradient, params):
    case = CASES[name]
    return [
        two_updates(lambda create=create: create(**case.arguments), gradient, params)
        for create in (getattr(optim, name), case.theirs)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_values_are_those_of_optax(name):
    ours, theirs = updates_of(name, G, W)
    references.assert_trees_close(ours, jax.tree.map(np.float64, theirs), 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_values_differ_for_the_reason_given(name):
    ours, theirs = updates_of(name, *CASES[name].differs)
    assert np.isfinite(ours["kernel"]).all()
    assert not np.allclose(ours["kernel"], theirs["kernel"], rtol=1e-2, atol=0.0)
