"""Inception with and without residual connections.

Claim: Joining Inception with residual connections makes training faster (the course leaves open by
how much).

Formula:
  Inception: h_{l+1} = [b_1(h_l), b_2(h_l), b_3(h_l), b_4(h_l)], the branches side by side
  Inception-ResNet: h_{l+1} = h_l + W [b_1(h_l), ..., b_4(h_l)], with a 1x1 convolution W

Measured: Stacks of 8 blocks of 32 channels without normalization, on the digits (CIFAR-10 with
`--full`). The residual block pays for W with narrower branches, so that the operations are equal
within 5 %. W starts at zero, so that each residual block starts as the identity. We count the steps
until the mean training loss of ten steps is below 0.5, and compare the final loss.

Verdict: holds only when the stack is deep enough. With 8 blocks, the residual stack reaches the
loss in less than half of the steps, at equal operations; without shortcuts, no seed reached it.
With 4 blocks, the difference was smaller than the spread over the seeds. The publication of
Inception-v4 finds faster training, but nearly the same accuracy in the end.

Next: Use 4 blocks and 12 blocks. Start W at random instead of zero, or scale the residual by 0.1,
as Inception-ResNet does. Add batch normalization to both.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxml import activations, layers
from jaxml.studies import _training as training
from jaxml.studies._deep import last_tenth
from jaxml.studies._inception import (
    Widths,
    conv_params,
    head_params,
    inception,
    inception_params,
    multiply_adds,
)
from jaxml.studies._panels import bars, lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table
from jaxml.types import Array, Key, PyTree

CHANNELS, BLOCKS = 32, 8
WIDTHS = {"Inception": Widths(8, 8, 12, 4, 6, 6), "Inception-ResNet": Widths(6, 6, 8, 4, 4, 6)}


def params(key: Key, widths: Widths, channels: int, residual: bool) -> PyTree:
    """Draws a 3x3 stem, the blocks and a dense layer."""
    keys = jax.random.split(key, BLOCKS + 2)
    blocks = [{"branches": inception_params(k, CHANNELS, widths)} for k in keys[2:]]
    if residual:
        zero = {"kernel": jnp.zeros((1, 1, widths.total, CHANNELS)), "bias": jnp.zeros(CHANNELS)}
        blocks = [{**block, "join": zero} for block in blocks]
    stem = conv_params(keys[0], 3, channels, CHANNELS)
    return {"stem": stem, "blocks": blocks, "head": head_params(keys[1], CHANNELS)}


def network(params: PyTree, x: Array) -> Array:
    """Computes logits; blocks that have a 1x1 convolution to join the branches are residual."""
    x = activations.relu(layers.conv(x, **params["stem"]))
    for block in params["blocks"]:
        y = inception(block["branches"], x)
        x = activations.relu(x + layers.conv(y, **block["join"])) if "join" in block else y
    return layers.global_max_pool_head(x, **params["head"])


def steps_to(losses: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the steps until the mean of ten losses is below a threshold, at most all."""
    means = np.stack([np.convolve(row, np.full(10, 0.1), "valid") for row in losses])
    return np.where((means < threshold).any(1), (means < threshold).argmax(1) + 10, losses.shape[1])


def measure(settings: Settings, *, joined: bool = True) -> Measured:
    """Trains both stacks; without `joined`, the second is an Inception without shortcuts, too."""
    data, steps = training.load_images(settings), settings.steps(150)
    rows, found = training.batches(settings, len(data.train), 64, steps), {}

    def loss(p: PyTree, rows: Array) -> Array:
        return training.cross_entropy(network(p, data.train[rows]), data.labels[rows])

    for name, widths in WIDTHS.items():
        residual = joined and name != "Inception"
        used = widths if residual else WIDTHS["Inception"]
        start = training.for_each_seed(
            lambda key: params(key, used, data.train.shape[-1], residual), settings
        )
        _, history = training.descend_stepwise(loss, start, rows, optimizer=optax.sgd(0.03, 0.9))
        found[f"losses, {name}"] = history
        one = jax.tree.map(lambda leaf: leaf[0], start["blocks"])
        found[f"operations, {name}"] = np.full(len(settings.seeds), multiply_adds(one))
        found[f"steps, {name}"] = steps_to(history, 0.5).astype(np.float64)
    return found


def final(found: Measured, name: str) -> np.ndarray:
    """Returns the training loss at the end."""
    return last_tenth(found[f"losses, {name}"])


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    ratio = {
        k: found[f"{k}, Inception"] / found[f"{k}, Inception-ResNet"]
        for k in ("operations", "steps")
    }
    return [
        Check("operations, Inception over Inception-ResNet", ratio["operations"], 0.95, 1.05),
        Check("steps to the loss, Inception over Inception-ResNet", ratio["steps"], at_least=1.5),
        Check("final loss, Inception-ResNet", final(found, "Inception-ResNet"), at_most=0.5),
    ]


def table(found: Measured) -> Table:
    """Operations, steps and losses."""
    rows = [(n, found[f"operations, {n}"], found[f"steps, {n}"], final(found, n)) for n in WIDTHS]
    return Table(("blocks", "multiply-adds a pixel", "steps to a loss of 0.5", "final loss"), rows)


def panels(found: Measured) -> list[Panel]:
    """Losses and steps."""
    return [
        lines("Training loss", {n: found[f"losses, {n}"] for n in WIDTHS}, y="loss"),
        bars("Steps to a loss of 0.5", {n: found[f"steps, {n}"] for n in WIDTHS}, x="steps"),
    ]


STUDY = Study(measure, checks, table, panels, code=(network, inception))
