"""Whitening by the principal components of a set."""

import math
from typing import Self

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from jaxml.normalize._images import to_unit_interval
from jaxml.normalize._sets import broadcast, check_set, pixels, widen
from jaxml.types import Array


class PCAWhitening(struct.PyTreeNode):
    r"""Projects examples onto the principal components of a set, decorrelated with variance 1.

    .. math:: z = \mathrm{diag}(\lambda + \epsilon)^{-1/2} V^\top (x - \mu)

    where x are the flattened features of an example, mu is their mean over the set, and V and
    lambda are the eigenvectors and eigenvalues of their unbiased covariance, in descending order.
    With a positive epsilon, the variance is less than 1.

    Fitting takes cubic time and quadratic memory in the number of features, which limits it to a
    few thousand.

    Attributes:
      mean: `[features]`, float32 (float64 under x64).
      basis: v, `[features, components]`; the largest entry of each eigenvector is positive.
      deviation: the square root of each eigenvalue plus epsilon, `[components]`.
      shape: shape of an example.

    Example:
      >>> x = np.random.default_rng(0).normal(size=(100, 4)) @ np.diag([1.0, 2.0, 3.0, 4.0])
      >>> z = PCAWhitening.fit(x, epsilon=0.0, components=2).apply(jnp.asarray(x))
      >>> bool(jnp.allclose(jnp.cov(z.T), jnp.eye(2), atol=1e-4))
      True

    Reference: scikit-learn's `PCA(whiten=True)` where epsilon is 0.
    """

    mean: Array
    basis: Array
    deviation: Array
    shape: tuple[int, ...] = struct.field(pytree_node=False)

    @classmethod
    def fit(cls, x: np.ndarray, *, epsilon: float = 1e-2, components: int | None = None) -> Self:
        """Computes the principal components of a set.

        Args:
          x: at least two examples `[n, *shape]`.
          epsilon: non-negative constant added to each eigenvalue, which damps directions of little
            variance. The default suits pixels in [0, 1] and features of variance about 1.
          components: number of components to keep; None for all, or for the rank of the set if
            epsilon is 0.

        Raises:
          ValueError: epsilon is negative, or `components` exceeds the number of components.
        """
        check_set(x, least=2)
        if not epsilon >= 0:
            raise ValueError(f"`epsilon` must be non-negative, got {epsilon}")
        mean, covariance = _covariance(x.reshape(len(x), -1))
        variances, basis = np.linalg.eigh(covariance)
        variances, basis = np.maximum(variances[::-1], 0.0), basis[:, ::-1]
        noise = max(x.shape[0], len(variances)) * np.finfo(np.float64).eps * variances[0]
        available = len(variances) if epsilon else int((variances > noise).sum())
        if not available:
            raise ValueError("`epsilon` must be positive for a constant set, got 0")
        kept = available if components is None else components
        if not 1 <= kept <= available:
            raise ValueError(f"`components` must be in [1, {available}] for this set, got {kept}")
        # The sign of an eigenvector is arbitrary; this choice is the same on every machine.
        largest = np.take_along_axis(basis, np.abs(basis).argmax(0)[None], axis=0)
        return cls(
            mean=jnp.asarray(mean),
            basis=jnp.asarray((basis * np.sign(largest))[:, :kept]),
            deviation=jnp.asarray(np.sqrt(variances[:kept] + epsilon)),
            shape=x.shape[1:],
        )

    def apply(self, x: Array) -> Array:
        """Returns the components `[..., components]` of examples `[..., *shape]`."""
        x = to_unit_interval(x)
        return self._whiten(x).astype(x.dtype)

    def invert(self, y: Array) -> Array:
        """Applies the pseudo-inverse, which is exact if all components are kept."""
        if y.shape[-1:] != self.deviation.shape:
            raise ValueError(f"`y` must be [..., {self.deviation.size}], got shape {y.shape}")
        return self._unwhiten(y, y.shape[:-1]).astype(y.dtype)

    def _whiten(self, x: Array) -> Array:
        """Returns the components, in float32 at least."""
        lead = _batch_shape("x", x, self.shape)
        rows, mean, basis, deviation = widen(x, self.mean, self.basis, self.deviation)
        rows = rows.reshape(*lead, mean.size)
        z = _matmul(rows - broadcast(mean, rows), basis)
        return z / broadcast(deviation, z)

    def _unwhiten(self, z: Array, lead: tuple[int, ...]) -> Array:
        """Returns the examples `[*lead, *shape]` of components, in float32 at least."""
        z, mean, basis, deviation = widen(z, self.mean, self.basis, self.deviation)
        rows = _matmul(z * broadcast(deviation, z), basis.T)
        return (rows + broadcast(mean, rows)).reshape(*lead, *self.shape)


class ZCAWhitening(PCAWhitening):
    r"""Whitens examples with the linear map that is closest to the identity.

    .. math:: y = V \mathrm{diag}(\lambda + \epsilon)^{-1/2} V^\top (x - \mu)

    with V and the eigenvalues of `PCAWhitening`, whose attributes and `fit` it shares. Whitened
    images keep their shape and look like images.

    Example:
      >>> x = np.random.default_rng(0).normal(size=(100, 2)) @ np.array([[1.0, 1.0], [0.0, 1.0]])
      >>> y = ZCAWhitening.fit(x, epsilon=0.0).apply(jnp.asarray(x))
      >>> bool(jnp.allclose(jnp.cov(y.T), jnp.eye(2), atol=1e-4))
      True

    Reference: Bell, Sejnowski, "The 'Independent Components' of Natural Scenes are Edge Filters",
    1997; Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Keras'
    `ImageDataGenerator` divides the covariance by n and uses an epsilon of 1e-6.
    """

    def apply(self, x: Array) -> Array:
        """Returns whitened examples of the same shape `[..., *shape]`."""
        x = to_unit_interval(x)
        z, basis = widen(self._whiten(x), self.basis)
        return _matmul(z, basis.T).reshape(x.shape).astype(x.dtype)

    def invert(self, y: Array) -> Array:
        """Applies the pseudo-inverse, which is exact if all components are kept."""
        lead = _batch_shape("y", y, self.shape)
        rows, basis = widen(y.reshape(*lead, self.mean.size), self.basis)
        return self._unwhiten(_matmul(rows, basis), lead).astype(y.dtype)


def _covariance(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and unbiased covariance, converting 1024 examples at a time to float64."""
    parts = np.array_split(rows, math.ceil(len(rows) / 1024))
    mean = np.sum([pixels(part).sum(0) for part in parts], axis=0) / len(rows)
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    for part in parts:
        centered = pixels(part) - mean
        covariance += centered.T @ centered
    return mean, covariance / (len(rows) - 1)


def _batch_shape(name: str, x: Array, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the dimensions of x before those of an example."""
    lead = x.shape[: max(x.ndim - len(shape), 0)]
    if x.shape != lead + shape:
        sizes = ", ".join(map(str, shape))
        raise ValueError(f"`{name}` must be [..., {sizes}], got shape {x.shape}")
    return lead


def _matmul(x: Array, y: Array) -> Array:
    # Terms cancel here, so the product needs the digits that an accelerator drops by default.
    return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)
