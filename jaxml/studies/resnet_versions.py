"""ResNet v1 and v2.

Claim: Version 2 moves normalization and ReLU before the layers, so that the shortcut is a clean
path from the first block to the last. Gradients pass it unchanged, and very deep networks train
better.

Formula:
  v1: h_{l+1} = ReLU(h_l + f(h_l))      v2: h_{l+1} = h_l + f(h_l),   h_L = h_l + Σ_{i≥l} f(h_i)
  v2: ∂L/∂h_l = ∂L/∂h_L (1 + ∂/∂h_l Σ f(h_i))

Measured: Networks of dense layers, 32 wide, with batch normalization, on the digits: the norm of
the gradient of the input of each of 54 blocks (110 layers) at the start, and the training loss
after 240 steps for 20, 56 and 110 layers (with `--full`: the convolutional networks on CIFAR-10).
The layers of the networks of Keras' example that are called "20" are counted: convolutions and
dense layers, with and without those of the shortcuts.

Verdict: holds only when depth is the problem, and not for the reason that is given. From the last
block to the first, the gradient at the start changes by 9 powers of ten without shortcuts, but by
less than 2 in both versions: what v2 removes from the path hardly matters there. With 20 layers, v1
and v2 end with nearly the same loss; with 110 layers, that of v2 is less than half. Keras'
"ResNet20" has 20 layers with parameters without the shortcuts, and 22 with them (v1); its v2 is
also called 20 with n = 2, from 9 n + 2.

Next: Multiply the branch by 0.1 at the start: do the versions still differ? Put the ReLU of v1
before the sum. Measure the gradient after training.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.models import MODELS, summarize_layers
from jaxml.studies import _training as training
from jaxml.studies._deep import WIDTH, block, deep_network, deep_params, last_tenth, training_losses
from jaxml.studies._panels import bars, lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table
from jaxml.types import Array, Key

DEPTHS, KINDS = (20, 56, 110), ("plain", "v1", "v2")


def gradient_norms(kind: str, key: Key, blocks: int, x: Array, y: Array) -> Array:
    """Returns the norm of the gradient of the output of each block, at the start of training."""
    params = deep_params(key, blocks)

    def loss(shifts: Array) -> Array:
        return training.cross_entropy(deep_network(kind, params, x, shifts), y)

    gradients = jax.grad(loss)(jnp.zeros((blocks, len(x), WIDTH)))
    return jnp.sqrt(jnp.square(gradients).sum((1, 2)))


def count_layers(name: str) -> tuple[int, int]:
    """Counts the convolutions and dense layers without and with those of the shortcuts."""
    layers = summarize_layers(MODELS[name](num_classes=10), (32, 32, 3))
    paths = [layer.path for layer in layers if layer.kind in ("Conv", "Dense")]
    return sum("shortcut" not in path for path in paths), len(paths)


def measure(settings: Settings, *, clean: str = "v2") -> Measured:
    """Measures gradients and losses; `clean` is the kind whose path is to be clean."""
    data, found = training.flat_digits(64), {}
    for name in KINDS:
        kind = clean if name == "v2" else name
        found[f"gradient, {name}"] = np.asarray(
            training.for_each_seed(
                lambda key: gradient_norms(kind, key, 54, data.train, data.labels), settings
            )
        )
        for depth in DEPTHS:
            found[f"loss, {name}, {depth}"] = last_tenth(training_losses(settings, kind, depth))
    for name in ("resnet20v1_keras", "resnet20v2_keras"):
        found[f"layers, {name}"] = np.tile(count_layers(name), (len(settings.seeds), 1))
    return found


def change(found: Measured, kind: str) -> np.ndarray:
    """Returns the powers of ten between the gradients of the first and the last block."""
    norms = np.maximum(found[f"gradient, {kind}"], 1e-30)
    return np.abs(np.log10(norms[:, 0] / norms[:, -1]))


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    deep = np.log10(found["loss, v1, 110"] / found["loss, v2, 110"])  # the losses are skewed
    return [
        Check(
            "plain minus v2: powers of ten between first and last gradient",
            change(found, "plain") - change(found, "v2"),
            at_least=5,
        ),
        Check(
            "v1 minus v2: powers of ten between first and last gradient",
            change(found, "v1") - change(found, "v2"),
            -0.5,
            0.5,
        ),
        Check(
            "20 layers: training loss of v1 minus that of v2",
            found["loss, v1, 20"] - found["loss, v2, 20"],
            -0.05,
            0.05,
        ),
        Check("110 layers: powers of ten between the losses of v1 and v2", deep, at_least=0.3),
        Check(
            "Keras' ResNet20v1: layers without shortcuts",
            found["layers, resnet20v1_keras"][:, 0],
            20,
            20,
        ),
        Check(
            "Keras' ResNet20v2: layers without shortcuts",
            found["layers, resnet20v2_keras"][:, 0],
            20,
            20,
        ),
    ]


def table(found: Measured) -> Table:
    """Losses and gradients by kind; layers of Keras' networks."""
    rows: list[Any] = [
        (kind, change(found, kind), *(found[f"loss, {kind}, {depth}"] for depth in DEPTHS))
        for kind in KINDS
    ]
    for name in ("resnet20v1_keras", "resnet20v2_keras"):
        without, total = found[f"layers, {name}"][0]
        rows.append((f"`{name}`: {without} layers, {total} with shortcuts", "-", "-", "-", "-"))
    header = ("network", "powers of ten between first and last gradient, 110 layers")
    return Table((*header, *(f"training loss, {depth} layers" for depth in DEPTHS)), rows)


def panels(found: Measured) -> list[Panel]:
    """Gradients by block, and losses."""
    gradients = {k: found[f"gradient, {k}"] / found[f"gradient, {k}"][:, -1:] for k in KINDS}
    values = {f"{k}, {d} layers": found[f"loss, {k}, {d}"] for d in DEPTHS for k in ("v1", "v2")}
    title = "Gradient by block, relative to the last, 110 layers"
    return [
        lines(title, gradients, x="block", y="norm", log="y"),
        bars("Training loss after 240 steps", values, x="loss"),
    ]


STUDY = Study(measure, checks, table, panels, code=(block, gradient_norms, count_layers))
