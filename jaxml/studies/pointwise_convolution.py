"""1x1 convolution as dimension reduction.

Claim: A 1x1 convolution in front of a 3x3 or 5x5 one reduces the channels, and with them parameters
and operations, at little loss of accuracy.

Formula:
  k × k from c to o channels: k^2 c o weights, used once for each pixel
  with a reduction to r channels: c r + k^2 r o

Measured: The weights of the first Inception block of GoogLeNet (192 channels) with and without its
reductions. Two small blocks with the same operations learn the digits: one with reductions, and one
without, which can afford fewer channels. Test accuracy at equal operations decides. Side by side,
the convolutions that the course compares: weights, and the exact relations between them.

Verdict: holds. The reductions save more than half of the operations of GoogLeNet's block. At equal
operations, the small block with reductions is the more accurate one over five seeds: what it saves
buys more channels.

Next: Give the block with reductions the channels of the other one, and compare the time of a step.
Put a ReLU between the two convolutions of a spatially separable one, as Inception v3 does.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxml import layers
from jaxml.studies import _training as training
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

GOOGLENET = {"with": Widths(64, 96, 128, 16, 32, 32), "without": Widths(64, 0, 128, 0, 32, 32)}
SMALL = {"with": Widths(8, 8, 16, 4, 8, 8), "without": Widths(8, 0, 6, 0, 1, 8)}
STEM = 32


def params(key: Key, widths: Widths, channels: int) -> PyTree:
    """Draws a 3x3 stem, one block and a dense layer."""
    first, second, third = jax.random.split(key, 3)
    return {
        "stem": conv_params(first, 3, channels, STEM),
        "head": head_params(third, widths.total),
        "block": inception_params(second, STEM, widths),
    }


def network(params: PyTree, x: Array) -> Array:
    """Computes logits."""
    x = inception(params["block"], jnp.maximum(layers.conv(x, **params["stem"]), 0.0))
    return layers.global_max_pool_head(x, **params["head"])


def relations(key: Key) -> tuple[Array, Array, Array]:
    """Returns the errors of three exact relations between convolutions."""
    parts = jax.random.split(key, 6)
    x, y = (jax.random.normal(k, (1, 8, 8, 4)) for k in parts[:2])
    depthwise = jax.random.normal(parts[2], (3, 3, 4, 1))
    pointwise = jax.random.normal(parts[3], (1, 1, 4, 4))
    column, row = jax.random.normal(parts[4], (3, 4, 4)), jax.random.normal(parts[5], (3, 4, 4))
    full = depthwise * pointwise
    spatial = jnp.einsum("ucm,vmo->uvco", column, row)
    forward, back = layers.conv(x, full), layers.conv_transpose(y, full)
    size = jnp.abs(forward).max()
    return (
        jnp.abs(layers.separable_conv(x, depthwise, pointwise) - forward).max() / size,
        jnp.abs(layers.spatially_separable_conv(x, column, row) - layers.conv(x, spatial)).max()
        / size,
        jnp.abs((forward * y).sum() - (x * back).sum())
        / (jnp.linalg.norm(forward) * jnp.linalg.norm(y)),
    )


def measure(settings: Settings, *, small: dict = SMALL, googlenet: dict = GOOGLENET) -> Measured:
    """Counts operations and trains both small blocks."""
    data, steps, count = training.load_images(settings), settings.steps(150), len(settings.seeds)
    rows, found = training.batches(settings, len(data.train), 64, steps), {}

    def loss(p: PyTree, rows: Array) -> Array:
        return training.cross_entropy(network(p, data.train[rows]), data.labels[rows])

    for name, widths in small.items():
        start = training.for_each_seed(
            lambda key: params(key, widths, data.train.shape[-1]), settings
        )
        trained, history = training.descend_stepwise(loss, start, rows, optimizer=optax.adam(0.01))
        one = jax.tree.map(lambda leaf: leaf[0], start)
        predict = jax.jit(lambda p: network(p, data.test[:1000]))
        logits = [predict(jax.tree.map(lambda leaf: leaf[i], trained)) for i in range(count)]
        found[f"accuracy, {name}"] = training.accuracy(jnp.stack(logits), data.test_labels[:1000])
        found[f"operations, {name}"] = np.full(count, multiply_adds(one["block"]))
        found[f"losses, {name}"] = history
        big = jax.eval_shape(lambda: inception_params(jax.random.key(0), 192, googlenet[name]))
        found[f"GoogLeNet, {name}"] = np.full(count, multiply_adds(big))
    names = ("separable", "spatially separable", "transposed")
    errors = training.for_each_seed(relations, settings)
    return {**found, **{n: np.asarray(e) for n, e in zip(names, errors, strict=True)}}


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    ratio = {k: found[f"{k}, without"] / found[f"{k}, with"] for k in ("GoogLeNet", "operations")}
    return [
        Check("GoogLeNet's block: operations without over with reductions", ratio["GoogLeNet"], 2),
        Check("small blocks: operations without over with", ratio["operations"], 0.9, 1.1),
        Check(
            "test accuracy with minus without, equal operations",
            found["accuracy, with"] - found["accuracy, without"],
            at_least=0.0,
        ),
        Check(
            "separable = full convolution with the product kernel, error",
            found["separable"],
            at_most=1e-5,
        ),
        Check("spatially separable, likewise", found["spatially separable"], at_most=1e-5),
        Check(
            "transposed = adjoint, (Ax) · y = x · (A^T y), error", found["transposed"], at_most=1e-5
        ),
    ]


def table(found: Measured) -> Table:
    """Operations and accuracies of blocks; weights of convolutions."""
    names = {n: f"{n} reductions" for n in SMALL}
    rows = [(f"GoogLeNet's first block, {names[n]}", found[f"GoogLeNet, {n}"], "-") for n in names]
    rows += [
        (f"small block, {names[n]}", found[f"operations, {n}"], found[f"accuracy, {n}"])
        for n in names
    ]
    c = 64
    rows += [
        ("3x3 convolution, 64 to 64 channels", 9 * c * c, "-"),
        ("spatially separable: 3x1, then 1x3", 6 * c * c, "-"),
        ("depthwise separable: 3x3 in each channel, then 1x1", 9 * c + c * c, "-"),
        ("transposed 3x3 (stride s: s^2 times as many pixels)", 9 * c * c, "-"),
    ]
    return Table(("block or convolution", "weights = multiply-adds a pixel", "test accuracy"), rows)


def panels(found: Measured) -> list[Panel]:
    """Operations and losses."""
    operations = {f"{n} reductions": found[f"GoogLeNet, {n}"] for n in SMALL}
    history = {f"{n} reductions": found[f"losses, {n}"] for n in SMALL}
    return [
        bars("GoogLeNet's first block", operations, x="multiply-adds a pixel"),
        lines("Training loss at equal operations", history, y="loss"),
    ]


STUDY = Study(measure, checks, table, panels, code=(inception, relations))
