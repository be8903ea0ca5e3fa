"""Supervised and unsupervised learning.

Claim: Supervised learning needs labels and predicts them; unsupervised learning finds structure
without them. Classification predicts a class, regression a number.

Formula:
  k-means:   c_i = argmin_k |x_i − m_k|^2,   m_k = mean of the x_i with c_i = k
  PCA:   directions v_k of largest variance, the leading eigenvectors of the covariance of x
  classification:   argmax of softmax(W x + b)        regression:   w · x + b, squared error

Measured: All methods learn from the same 1,437 images of digits, and name the same 360 test images.
k-means with 10 clusters never sees a label; afterwards, each cluster is named after the most
frequent digit in it, and labels are used for nothing else. Softmax regression is trained with all
labels. Linear regression takes the labels for quantities: it predicts a number, which is rounded to
the nearest digit. For PCA, we measure the fraction of the variance in 10 of 64 directions.

Verdict: holds. k-means names 7 of 10 test images correctly, although no label formed its clusters;
guessing would name 1 of 10, and softmax regression names 9. Linear regression names only 2: to it,
an 8 is nearly a 7, but their images are not alike. A label that names a class is not a quantity.

Next: Use 20 clusters: why does the agreement rise? Cluster the first 10 principal components. Train
the classifier on 10 labels a class, and compare with the clusters.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxml import layers, losses, normalize
from jaxml.reporting.charts import MUTED, place_legend
from jaxml.studies import _training as training
from jaxml.studies._panels import bars, drawing, pictures
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table, part
from jaxml.types import Array, PyTree

SHOWN = 600  # images in the figure of the principal plane


def nearest(x: Array, means: Array) -> Array:
    """Returns the nearest mean of each example."""
    distances = jnp.square(means).sum(1)[None] - 2 * layers.dense(x, means.T)  # plus |x|^2
    return distances.argmin(1)


def k_means(x: Array, start: Array) -> Array:
    """Returns the means after 50 iterations of Lloyd's algorithm."""

    def iteration(_: int, means: Array) -> Array:
        member = jax.nn.one_hot(nearest(x, means), len(means))
        size = member.sum(0)[:, None]
        return jnp.where(size > 0, member.T @ x / jnp.maximum(size, 1.0), means)

    return jax.lax.fori_loop(0, 50, iteration, start)


def name_clusters(clusters: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the most frequent label of each of ten clusters."""
    counts = np.zeros((10, 10))
    np.add.at(counts, (clusters, labels), 1)
    return counts.argmax(1)


def kept_variance(x: np.ndarray) -> float:
    """Returns the fraction of the variance in the first 10 principal components."""
    values = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    return values[:10].sum() / values.sum()


def linear_outputs(settings: Settings, data: training.Images, outputs: int, loss: Any) -> Array:
    """Trains a linear model from zeros, and returns its outputs for the test images."""
    zeros = {"kernel": jnp.zeros((64, outputs)), "bias": jnp.zeros(outputs)}
    start = training.for_each_seed(lambda _: zeros, settings)
    rows = training.batches(settings, len(data.train), 64, settings.steps(300))

    def risk(p: PyTree, rows: Array) -> Array:
        return loss(layers.dense(data.train[rows], **p), data.labels[rows]).mean()

    params, _ = training.descend(risk, start, rows, optimizer=optax.adam(0.03))
    return jax.vmap(lambda p: layers.dense(data.test, **p))(params)


def measure(settings: Settings, *, shuffle: bool = False) -> Measured:
    """Runs all methods; `shuffle` permutes the pixels of each image, which hides the digits."""
    data = training.flat_digits()
    x, y, test, digits = (np.asarray(a) for a in data)
    if shuffle:
        x, test = (np.random.default_rng(0).permuted(images, axis=1) for images in (x, test))
    rngs = [np.random.default_rng(s) for s in settings.seeds]
    starts = jnp.stack([jnp.asarray(x[rng.permutation(len(x))[:10]]) for rng in rngs])
    means = jax.jit(jax.vmap(lambda start: k_means(jnp.asarray(x), start)))(starts)
    clusters = jax.jit(jax.vmap(nearest, (None, 0)))
    own, other = (np.asarray(clusters(jnp.asarray(images), means)) for images in (x, test))
    named = np.stack([name_clusters(a, y)[b] for a, b in zip(own, other, strict=True)])

    scores = linear_outputs(settings, data, 10, losses.softmax_cross_entropy)
    numbers = np.asarray(
        linear_outputs(
            settings, data, 1, lambda z, y: losses.squared_error(z[:, 0], y.astype(z.dtype))
        )
    )[..., 0]
    rounded = np.clip(np.rint(numbers), 0, 9)
    plane = normalize.PCAWhitening.fit(x, components=2).apply(jnp.asarray(x[:SHOWN]))
    return {
        "accuracy, k-means": (named == digits).mean(1),
        "accuracy, softmax regression": training.accuracy(scores, digits),
        "accuracy, linear regression": (rounded == digits).mean(-1),
        "kept": np.array([kept_variance(x[rng.integers(0, len(x), len(x))]) for rng in rngs]),
        "means": np.asarray(means),
        "numbers": numbers,
        "test labels": settings.constant(digits),
        "plane": settings.constant(plane),
        "labels": settings.constant(y[:SHOWN]),
    }


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    clusters, softmax, linear = part(found, "accuracy").values()
    return [
        Check("k-means: test images named correctly", clusters, at_least=0.5),
        Check("softmax regression: test images named correctly", softmax, at_least=0.85),
        Check("softmax regression minus k-means", softmax - clusters, at_least=0.1),
        Check("softmax regression minus linear regression", softmax - linear, at_least=0.4),
        Check("PCA: variance in 10 of 64 directions", found["kept"], at_least=0.6),
    ]


def table(found: Measured) -> Table:
    """Accuracy of each method, and the labels it saw."""
    used = ("only to name the clusters", "all 1,437", "all 1,437")
    accuracy = part(found, "accuracy")
    columns = {
        "labels used": dict(zip(accuracy, used, strict=True)),
        "test images named correctly": accuracy,
    }
    return Table.of("method", columns)


def panels(found: Measured) -> list[Panel]:
    """Cluster means, principal plane and regression."""

    def plane(axes: Any) -> None:
        for digit in (0, 1, 3, 4, 6):
            axes.plot(*found["plane"][0][found["labels"][0] == digit].T, "o", ms=2.5, label=digit)
        place_legend(axes, "digit")

    def regression(axes: Any) -> None:
        axes.plot(found["test labels"][0], found["numbers"][0], "o", ms=2, label="test image")
        axes.plot([0, 9], [0, 9], color=MUTED, ls="--", label="right answer")
        place_legend(axes)

    means = found["means"][0].reshape(10, 8, 8)
    title = "Five digits in the plane of two principal components"
    answers = "Linear regression, test images, first seed"
    return [
        pictures("Means of 10 clusters, first seed", means, [""] * 10, columns=5),
        drawing(title, plane, x="first component", y="second component"),
        drawing(answers, regression, x="digit", y="predicted number"),
        bars("Test images named correctly", part(found, "accuracy"), x="fraction"),
    ]


STUDY = Study(measure, checks, table, panels, code=(nearest, k_means, name_clusters))
