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
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table, part
from jaxml.types import Array, Key

DEPTHS, KINDS = (20, 56, 110), ("plain", "v1", "v2")
KERAS = ("resnet20v1_keras", "resnet20v2_keras")


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
        norms = training.for_each_seed(
            lambda key: gradient_norms(kind, key, 54, data.train, data.labels), settings
        )
        found[f"gradient, {name}"] = np.asarray(norms)
        for depth in DEPTHS:
            losses = training_losses(settings, kind, depth)
            found[f"loss, {name}, {depth} layers"] = last_tenth(losses)
    for name in KERAS:
        found[f"layers, {name}"] = settings.constant(count_layers(name))
    return found


def powers(found: Measured) -> dict[str, np.ndarray]:
    """Returns the powers of ten between the gradients of the first and the last block."""
    norms = {kind: np.maximum(x, 1e-30) for kind, x in part(found, "gradient").items()}
    return {kind: np.abs(np.log10(x[:, 0] / x[:, -1])) for kind, x in norms.items()}


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    change, loss = powers(found), part(found, "loss")
    shallow = loss["v1, 20 layers"] - loss["v2, 20 layers"]
    deep = np.log10(loss["v1, 110 layers"] / loss["v2, 110 layers"])  # the losses are skewed
    version1, version2 = (found[f"layers, {name}"][:, 0] for name in KERAS)
    between = "powers of ten between first and last gradient"
    return [
        Check(f"plain minus v2: {between}", change["plain"] - change["v2"], at_least=5),
        Check(f"v1 minus v2: {between}", change["v1"] - change["v2"], -0.5, 0.5),
        Check("20 layers: training loss of v1 minus that of v2", shallow, -0.05, 0.05),
        Check("110 layers: powers of ten between the losses of v1 and v2", deep, at_least=0.3),
        Check("Keras' ResNet20v1: layers without shortcuts", version1, 20, 20),
        Check("Keras' ResNet20v2: layers without shortcuts", version2, 20, 20),
    ]


def table(found: Measured) -> Table:
    """Losses and gradients by kind; layers of Keras' networks."""
    rows: list[Any] = [
        (kind, change, *(found[f"loss, {kind}, {depth} layers"] for depth in DEPTHS))
        for kind, change in powers(found).items()
    ]
    for name in KERAS:
        without, total = found[f"layers, {name}"][0]
        rows.append((f"`{name}`: {without} layers, {total} with shortcuts", "-", "-", "-", "-"))
    header = ("network", "powers of ten between first and last gradient, 110 layers")
    return Table((*header, *(f"training loss, {depth} layers" for depth in DEPTHS)), rows)


def panels(found: Measured) -> list[Panel]:
    """Gradients by block, and losses."""
    gradients = {kind: x / x[:, -1:] for kind, x in part(found, "gradient").items()}
    names = [f"{kind}, {depth} layers" for depth in DEPTHS for kind in ("v1", "v2")]
    losses = {name: found[f"loss, {name}"] for name in names}
    title = "Gradient by block, relative to the last, 110 layers"
    return [
        lines(title, gradients, x="block", y="norm", log="y"),
        bars("Training loss after 240 steps", losses, x="loss"),
    ]


STUDY = Study(measure, checks, table, panels, code=(block, gradient_norms, count_layers))
