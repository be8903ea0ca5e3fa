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
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table
from jaxml.studies._training import dense_params
from jaxml.types import Array, Initializer, Key, PyTree

STARTS = {
    "zero": initializers.zeros,
    "equal": initializers.constant(0.1),
    "random": initializers.he_normal(),
}
SIZES = {"hidden": (64, 16), "head": (16, 10), "back": (16, 64), "linear": (64, 10)}


def start(initializer: Initializer, key: Key) -> PyTree:
    """Draws kernels; all biases are 0, and so is the scale of the residual block."""
    parts = zip(SIZES.items(), jax.random.split(key, len(SIZES)), strict=True)
    params = {name: dense_params(part, sizes, initializer)[0] for (name, sizes), part in parts}
    return {**params, "scale": jnp.zeros((1, 1))}


def network(params: PyTree, x: Array, key: Key, keep: Array) -> Array:
    """Computes the logits of 16 tanh units and a linear layer, with dropout on the units."""
    units = activations.tanh(layers.dense(x, **params["hidden"]))
    return layers.dense(layers.dropout(key, units, keep_prob=keep, train=True), **params["head"])


def residual_block(params: PyTree, x: Array, *_: Array) -> Array:
    """Computes the logits of a block x + s f(x) and a linear layer."""
    units = activations.tanh(layers.dense(x, **params["hidden"]))
    return layers.dense(
        x + params["scale"] * layers.dense(units, **params["back"]), **params["linear"]
    )


def softmax_regression(params: PyTree, x: Array, *_: Array) -> Array:
    """Computes the logits of a model without hidden units."""
    return layers.dense(x, **params["linear"])


def difference(params: PyTree) -> Array:
    """Returns the largest difference between the incoming weights of two hidden units."""
    return jnp.ptp(params["hidden"]["kernel"], axis=1).max()


def measure(settings: Settings, *, equal: Initializer = STARTS["equal"]) -> Measured:
    """Trains all networks; `equal` is the start that is to keep the units identical."""
    data, steps = training.flat_digits(), settings.steps(300)
    zero, same, random = (
        training.for_each_seed(partial(start, initializer), settings)
        for initializer in (STARTS["zero"], equal, STARTS["random"])
    )
    rows = training.batches(settings, len(data.train), 64, steps)
    keys, found = training.step_keys(settings, steps), {}

    def train(model: Any, cases: dict[str, PyTree], keep: dict[str, float]) -> None:
        def loss(params: PyTree, step: tuple[Array, Key, Array]) -> Array:
            rows, key, keep = step
            return training.cross_entropy(
                model(params, data.train[rows], key, keep), data.labels[rows]
            )

        params = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *cases.values())
        kept = [keep.get(name, 1.0) for name in cases]
        inputs, kept = training.repeat((rows, keys), kept, steps)
        params, history = training.descend(
            loss, params, (*inputs, kept), optimizer=optax.sgd(0.1), record=difference
        )
        one = jnp.ones(())  # the test has no dropout
        logits = jax.vmap(lambda p: model(p, data.train, jax.random.key(0), one))(params)
        accuracy = training.accuracy(logits, data.labels)
        for number, name in enumerate(cases):
            part = slice(number * len(rows), (number + 1) * len(rows))
            found[f"difference, {name}"] = np.asarray(history)[part]
            found[f"accuracy, {name}"] = accuracy[part]

    train(
        network, {"zero": zero, "equal": same, "random": random, "dropout": same}, {"dropout": 0.5}
    )
    train(softmax_regression, {"linear, zero": zero, "linear, random": random}, {})
    train(residual_block, {"block": random}, {})
    return found


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    gap = found["accuracy, linear, zero"] - found["accuracy, linear, random"]
    gain = found["accuracy, random"] - found["accuracy, equal"]
    same, apart = "largest difference of units in any step", "smallest difference in any step"
    return [
        Check(f"{same}, start at 0", found["difference, zero"].max(1), 0.0, 0.0),
        Check(f"{same}, equal start", found["difference, equal"].max(1), 0.0, 0.0),
        Check(f"{apart}, random start", found["difference, random"].min(1), at_least=0.1),
        Check(
            "difference at the end, equal start with dropout",
            found["difference, dropout"][:, -1],
            0.01,
        ),
        Check("accuracy gained by a random start", gain, at_least=0.2),
        Check("accuracy gained by zeros, softmax regression", gap, at_least=-0.02),
        Check("accuracy, block with last scale 0", found["accuracy, block"], at_least=0.9),
    ]


def table(found: Measured) -> Table:
    """Training accuracy and the difference of the units at the end."""
    rows = {
        "hidden layer, all weights 0": "zero",
        "hidden layer, all weights 0.1": "equal",
        "hidden layer, random": "random",
        "hidden layer, all weights 0.1, dropout": "dropout",
        "softmax regression, zero": "linear, zero",
        "softmax regression, random": "linear, random",
        "residual block, last scale 0": "block",
    }
    return Table(
        ("network and start", "training accuracy", "largest difference of two units at the end"),
        [
            (
                row,
                found[f"accuracy, {name}"],
                "no hidden units" if "linear" in name else found[f"difference, {name}"][:, -1],
            )
            for row, name in rows.items()
        ],
    )


def panels(found: Measured) -> list[Panel]:
    """Difference of the units over the steps, and accuracies."""
    names = {"random": "random", "equal with dropout": "dropout", "equal": "equal", "zero": "zero"}
    curves = {label: found[f"difference, {name}"] for label, name in names.items()}
    scores = {label: found[f"accuracy, {name}"] for label, name in names.items()}
    return [
        lines("Largest difference between two hidden units", curves, y="difference of weights"),
        bars("Training accuracy of the network with a hidden layer", scores, x="accuracy"),
    ]


STUDY = Study(measure, checks, table, panels, code=(start, network, difference))
