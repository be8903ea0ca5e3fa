"""Zero and equal initial weights.

Claim: Weights must not start at zero: the units of a layer would compute the same, receive the same
gradient, and stay identical for ever. Equal non-zero weights are no better; random weights break
the symmetry.

Formula:
  h_i = f(w_i · x),   ∂L/∂w_i = (v_i · δ) f′(w_i · x) x
  w_i = w_j and v_i = v_j   ⇒   ∂L/∂w_i = ∂L/∂w_j in every step

Measured: A network of 64 inputs, 16 tanh units and 10 classes learns the digits. Its kernels start
at 0, at 0.1, or at random (He). After every update we take the largest difference between the
incoming weights of two units; 0 means bit for bit equal. Three cases complete the claim: dropout on
units that start equal; softmax regression, which has no hidden units, from 0 and from random
weights; and a residual block x + s f(x) whose scale s starts at 0 and whose units at random.

Verdict: holds only when nothing else tells the units apart. Identical units stayed identical in
every step, but dropout separated them although they started equal, because each unit has a mask of
its own. Zero is a good start where no units compete (softmax regression, which is convex) and for
the last scale of a residual block, whose units differ already.

Next: Initialize only the last layer with zeros. Give the biases, and not the kernels, random
values. Replace dropout by noise on the input: the units see the same noise and stay equal.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxml import activations, initializers, layers
from jaxml.studies import _training as training
from jaxml.studies._panels import bars, lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table, part
from jaxml.types import Array, Initializer, Key, PyTree

ZERO, EQUAL, RANDOM = initializers.zeros, initializers.constant(0.1), initializers.he_normal()
SIZES = {"hidden": (64, 16), "head": (16, 10), "back": (16, 64), "linear": (64, 10)}


def start(initializer: Initializer, key: Key) -> PyTree:
    """Draws kernels; all biases are 0, and so is the scale of the residual block."""
    params = {
        name: training.dense_params(part_key, sizes, initializer)[0]
        for (name, sizes), part_key in zip(SIZES.items(), jax.random.split(key, 4), strict=True)
    }
    return {**params, "scale": jnp.zeros((1, 1))}


def network(params: PyTree, x: Array, key: Key, keep: float) -> Array:
    """Computes the logits of 16 tanh units and a linear layer, with dropout on the units."""
    units = activations.tanh(layers.dense(x, **params["hidden"]))
    return layers.dense(layers.dropout(key, units, keep_prob=keep, train=True), **params["head"])


def residual_block(params: PyTree, x: Array, *_: Any) -> Array:
    """Computes the logits of a block x + s f(x) and a linear layer."""
    units = activations.tanh(layers.dense(x, **params["hidden"]))
    added = params["scale"] * layers.dense(units, **params["back"])
    return layers.dense(x + added, **params["linear"])


def softmax_regression(params: PyTree, x: Array, *_: Any) -> Array:
    """Computes the logits of a model without hidden units."""
    return layers.dense(x, **params["linear"])


def difference(params: PyTree) -> Array:
    """Returns the largest difference between the incoming weights of two hidden units."""
    return jnp.ptp(params["hidden"]["kernel"], axis=1).max()


CASES = {  # model, initializer, keep_prob
    "hidden layer, random": (network, RANDOM, 1.0),
    "hidden layer, equal with dropout": (network, EQUAL, 0.5),
    "hidden layer, equal": (network, EQUAL, 1.0),
    "hidden layer, zero": (network, ZERO, 1.0),
    "softmax regression, zero": (softmax_regression, ZERO, 1.0),
    "softmax regression, random": (softmax_regression, RANDOM, 1.0),
    "residual block, last scale 0": (residual_block, RANDOM, 1.0),
}


def train(settings: Settings, model: Any, initializer: Initializer, keep: float) -> Measured:
    """Trains a model, and returns the difference of its units by step, and its accuracy."""
    data, steps = training.flat_digits(), settings.steps(300)
    rows = training.batches(settings, len(data.train), 64, steps)
    keys = training.step_keys(settings, steps)

    def loss(p: PyTree, step: tuple[Array, Key]) -> Array:
        rows, key = step
        logits = model(p, data.train[rows], key, keep)
        return training.cross_entropy(logits, data.labels[rows])

    params = training.for_each_seed(partial(start, initializer), settings)
    params, differences = training.descend(
        loss, params, (rows, keys), optimizer=optax.sgd(0.1), record=difference
    )
    # The accuracy is that without dropout, so that the key does not matter.
    logits = jax.vmap(lambda p: model(p, data.train, jax.random.key(0), 1.0))(params)
    return {
        "difference": np.asarray(differences),
        "accuracy": training.accuracy(logits, data.labels),
    }


def measure(settings: Settings, *, equal: Initializer = EQUAL) -> Measured:
    """Trains all networks; `equal` is the start that is to keep the units identical."""
    found = {}
    for name, (model, initializer, keep) in CASES.items():
        chosen = equal if initializer is EQUAL else initializer
        measured = train(settings, model, chosen, keep)
        found |= {f"{kind}, {name}": values for kind, values in measured.items()}
    return found


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    accuracy, units = part(found, "accuracy"), part(found, "difference, hidden layer")
    gain = accuracy["hidden layer, random"] - accuracy["hidden layer, equal"]
    convex = accuracy["softmax regression, zero"] - accuracy["softmax regression, random"]
    block, dropout = accuracy["residual block, last scale 0"], units["equal with dropout"][:, -1]
    same, apart = "largest difference of units in any step", "smallest difference in any step"
    return [
        Check(f"{same}, start at 0", units["zero"].max(1), 0.0, 0.0),
        Check(f"{same}, equal start", units["equal"].max(1), 0.0, 0.0),
        Check(f"{apart}, random start", units["random"].min(1), at_least=0.1),
        Check("difference at the end, equal start with dropout", dropout, at_least=0.01),
        Check("accuracy gained by a random start", gain, at_least=0.2),
        Check("accuracy gained by zeros, softmax regression", convex, at_least=-0.02),
        Check("accuracy, block with last scale 0", block, at_least=0.9),
    ]


def table(found: Measured) -> Table:
    """Training accuracy and the difference of the units at the end."""
    end = {
        name: "no hidden units" if "regression" in name else history[:, -1]
        for name, history in part(found, "difference").items()
    }
    columns = {
        "training accuracy": part(found, "accuracy"),
        "largest difference of two units at the end": end,
    }
    return Table.of("network and start", columns)


def panels(found: Measured) -> list[Panel]:
    """Difference of the units over the steps, and accuracies."""
    curves, scores = (part(found, f"{kind}, hidden layer") for kind in ("difference", "accuracy"))
    return [
        lines("Largest difference between two hidden units", curves, y="difference of weights"),
        bars("Training accuracy of the network with a hidden layer", scores, x="accuracy"),
    ]


STUDY = Study(measure, checks, table, panels, code=(start, network, difference))
