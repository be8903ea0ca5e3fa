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

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxml import activations, layers
from jaxml.studies import _inception as blocks
from jaxml.studies import _training as training
from jaxml.studies._inception import Widths
from jaxml.studies._panels import bars, lines
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table, part
from jaxml.types import Array, Key, PyTree

# With and without reductions; the small blocks have the same number of operations.
GOOGLENET = {"with": Widths(64, 96, 128, 16, 32, 32), "without": Widths(64, 0, 128, 0, 32, 32)}
SMALL = {"with": Widths(8, 8, 16, 4, 8, 8), "without": Widths(8, 0, 6, 0, 1, 8)}
STEM = 32


def draw(key: Key, widths: Widths, channels: int) -> PyTree:
    """Draws a 3x3 stem, one block and a dense layer."""
    first, second, third = jax.random.split(key, 3)
    return {
        "stem": blocks.conv_params(first, 3, channels, STEM),
        "head": blocks.head_params(third, widths.total),
        "block": blocks.inception_params(second, STEM, widths),
    }


def network(params: PyTree, x: Array) -> Array:
    """Computes logits."""
    x = activations.relu(layers.conv(x, **params["stem"]))
    return layers.global_max_pool_head(blocks.inception(params["block"], x), **params["head"])


def relations(key: Key) -> dict[str, Array]:
    """Returns the relative errors of three exact relations between convolutions."""
    parts = jax.random.split(key, 6)
    x, y = (jax.random.normal(k, (1, 8, 8, 4)) for k in parts[:2])
    depthwise = jax.random.normal(parts[2], (3, 3, 4, 1))
    pointwise = jax.random.normal(parts[3], (1, 1, 4, 4))
    column, row = (jax.random.normal(k, (3, 4, 4)) for k in parts[4:])
    full = depthwise * pointwise
    both = jnp.einsum("ucm,vmo->uvco", column, row)  # the kernel of first a column, then a row
    forward, back = layers.conv(x, full), layers.conv_transpose(y, full)
    separable = layers.separable_conv(x, depthwise, pointwise)
    spatial = layers.spatially_separable_conv(x, column, row)
    size, norm = jnp.abs(forward).max(), jnp.linalg.norm
    return {
        "separable": jnp.abs(separable - forward).max() / size,
        "spatially separable": jnp.abs(spatial - layers.conv(x, both)).max() / size,
        "transposed": jnp.abs((forward * y).sum() - (x * back).sum()) / (norm(forward) * norm(y)),
    }


def train(settings: Settings, data: training.Images, widths: Widths) -> Measured:
    """Trains a small block, and counts its operations."""
    rows = training.batches(settings, len(data.train), 64, settings.steps(150))
    start = training.for_each_seed(lambda key: draw(key, widths, data.train.shape[-1]), settings)
    loss = training.mean_loss(network, data)
    trained, history = training.descend_stepwise(loss, start, rows, optimizer=optax.adam(0.01))
    first_seed = jax.tree.map(lambda leaf: leaf[0], start)
    logits = jax.lax.map(lambda p: network(p, data.test[:1000]), trained)
    return {
        "accuracy": training.accuracy(logits, data.test_labels[:1000]),
        "operations": settings.constant(blocks.multiply_adds(first_seed["block"])),
        "losses": history,
    }


def measure(
    settings: Settings,
    *,
    small: Mapping[str, Widths] = SMALL,
    googlenet: Mapping[str, Widths] = GOOGLENET,
) -> Measured:
    """Counts operations and trains both small blocks."""
    data = training.load_images(settings)
    found = jax.tree.map(np.asarray, training.for_each_seed(relations, settings))
    for name, widths in googlenet.items():
        shapes = jax.eval_shape(
            lambda key: blocks.inception_params(key, 192, widths), jax.random.key(0)
        )
        found[f"GoogLeNet, {name} reductions"] = settings.constant(blocks.multiply_adds(shapes))
    for name, widths in small.items():
        measured = train(settings, data, widths)
        found |= {f"{kind}, {name} reductions": values for kind, values in measured.items()}
    return found


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""

    def pair(kind: str) -> tuple[np.ndarray, np.ndarray]:
        return found[f"{kind}, with reductions"], found[f"{kind}, without reductions"]

    large, small, accuracy = pair("GoogLeNet"), pair("operations"), pair("accuracy")
    gain, adjoint = accuracy[0] - accuracy[1], "transposed = adjoint, (Ax) · y = x · (A^T y), error"
    product = "separable = full convolution with the product kernel, error"
    return [
        Check("GoogLeNet's block: operations without over with reductions", large[1] / large[0], 2),
        Check("small blocks: operations without over with", small[1] / small[0], 0.9, 1.1),
        Check("test accuracy with minus without, equal operations", gain, at_least=0.0),
        Check(product, found["separable"], at_most=1e-5),
        Check("spatially separable, likewise", found["spatially separable"], at_most=1e-5),
        Check(adjoint, found["transposed"], at_most=1e-5),
    ]


def table(found: Measured) -> Table:
    """Operations and accuracies of blocks; weights of convolutions."""
    accuracy, c = part(found, "accuracy"), 64
    rows = [(f"GoogLeNet's first block, {n}", x, "-") for n, x in part(found, "GoogLeNet").items()]
    rows += [(f"small block, {n}", x, accuracy[n]) for n, x in part(found, "operations").items()]
    rows += [
        ("3x3 convolution, 64 to 64 channels", 9 * c * c, "-"),
        ("spatially separable: 3x1, then 1x3", 6 * c * c, "-"),
        ("depthwise separable: 3x3 in each channel, then 1x1", 9 * c + c * c, "-"),
        ("transposed 3x3 (stride s: s^2 times as many pixels)", 9 * c * c, "-"),
    ]
    return Table(("block or convolution", "weights = multiply-adds a pixel", "test accuracy"), rows)


def panels(found: Measured) -> list[Panel]:
    """Operations and losses."""
    return [
        bars("GoogLeNet's first block", part(found, "GoogLeNet"), x="multiply-adds a pixel"),
        lines("Training loss at equal operations", part(found, "losses"), y="loss"),
    ]


STUDY = Study(measure, checks, table, panels, code=(blocks.inception, relations))
