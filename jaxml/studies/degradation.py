"""Deeper plain networks train worse.

Claim: A deeper plain network has a higher training error than a shallow one, although it could copy
the shallow one and let the other layers be the identity. Residual connections remove this.

Formula:
  plain: h_{l+1} = f(h_l)      residual: h_{l+1} = ReLU(h_l + f(h_l)),   f = 0 is the identity
  ReLU(I h) = h for h ≥ 0: identity layers change nothing

Measured: Networks of 20, 32, 44 and 56 dense layers of 32 units, with batch normalization and He
initialization, on the digits (with `--full`: the convolutional networks of the paper on CIFAR-10).
We compare the mean *training* loss of the last tenth of the steps: more depth is not allowed to
excuse itself by overfitting. Then a network without normalization gets 36 identity layers: the
largest change of its logits.

Verdict: holds only when the training budget is fixed, and "remove" is read as "reduce". Within the
budget, the deeper plain network is much worse, and the residual one slightly: less than a fifth of
the rise is left. The inserted identity layers change nothing, bit for bit: depth is no limit of
what the network can express, but of what descent finds in time.

Next: Train four times as long: how much of the gap remains? Remove batch normalization. Start the
plain kernels near the identity instead of at random (`initializers.identity`).
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxml import initializers
from jaxml.studies import _training as training
from jaxml.studies._deep import block, last_tenth, training_losses
from jaxml.studies._panels import lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table
from jaxml.types import Array, Key

DEPTHS = (20, 32, 44, 56)
KINDS = {"plain": "plain", "residual": "v1"}


def identity_change(key: Key) -> Array:
    """Returns the largest change of the logits by 36 identity layers after the first of 20."""
    params = training.dense_params(key, (64, *[32] * 19, 10), initializers.he_normal())
    identity = {"kernel": jnp.eye(32), "bias": jnp.zeros(32)}
    x = jax.random.normal(key, (100, 64))
    deeper = [params[0], *[identity] * 36, *params[1:]]
    return jnp.abs(training.mlp(params, x) - training.mlp(deeper, x)).max()


def measure(settings: Settings, *, plain: str = "plain") -> Measured:
    """Trains all depths; `plain` is the kind of block whose training is to degrade."""
    found = {
        f"{name}, {depth}": training_losses(settings, plain if name == "plain" else kind, depth)
        for name, kind in KINDS.items()
        for depth in DEPTHS
    }
    return {**found, "identity": np.asarray(training.for_each_seed(identity_change, settings))}


def last(found: Measured, name: str, depth: int) -> np.ndarray:
    """Returns the training loss at the end."""
    return last_tenth(found[f"{name}, {depth}"])


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    rise = {name: last(found, name, 56) - last(found, name, 20) for name in KINDS}
    return [
        Check("training loss at 56 layers minus that at 20, plain", rise["plain"], at_least=0.1),
        Check(
            "rise from 20 to 56 layers, residual over plain",
            rise["residual"] / rise["plain"],
            at_most=0.2,
        ),
        Check("identity layers: largest change of a logit", found["identity"], 0, 0),
    ]


def table(found: Measured) -> Table:
    """Training losses by depth."""
    rows = [(f"{depth} layers", *(last(found, name, depth) for name in KINDS)) for depth in DEPTHS]
    return Table(("depth", *(f"training loss, {name}" for name in KINDS)), rows)


def panels(found: Measured) -> list[Panel]:
    """Training losses against the depth and the step."""
    depth = {name: np.stack([last(found, name, d) for d in DEPTHS], 1) for name in KINDS}
    curves = {f"{n}, {d} layers": found[f"{n}, {d}"] for n in KINDS for d in (20, 56)}
    return [
        lines("Training loss at the end", depth, at=DEPTHS, x="layers", y="loss", markers=True),
        lines("Training loss during training", curves, y="loss", log="y"),
    ]


STUDY = Study(measure, checks, table, panels, code=(block, identity_change))
