"""Whitening by the principal components of a set."""

import math
from collections.abc import Sequence
from typing import Any, Self

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

    @classmethod
    def whitened_shape(cls, example_shape: Sequence[int], features: int) -> tuple[int, ...]:
        """Recovers `shape` from the shape of an example and the number of features."""
        del features
        return tuple(example_shape)

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


class PatchWhitening(PCAWhitening):
    r"""Projects the patches of images onto the principal components of such patches.

    .. math:: z_{ij} = \mathrm{diag}(\lambda + \epsilon)^{-1/2} V^\top (p_{ij} - \mu)

    where p_ij are the values of the `size x size` patch whose upper left corner is at (i, j), and
    mu, V and lambda belong to the patches of the set, as in `PCAWhitening`, whose attributes it
    shares. This is a convolution with a fixed kernel, which whitens neighboring pixels in images of
    any size.

    Example:
      >>> images = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), np.uint8)
      >>> PatchWhitening.fit(images).apply(jnp.asarray(images)).shape
      (10, 7, 7, 12)

    Reference: the first layer of Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024,
    section 3.2.
    """

    @classmethod
    def fit(
        cls,
        x: np.ndarray,
        *,
        epsilon: float = 3e-5,
        components: int | None = None,
        size: int = 2,
        max_patches: int = 5_000_000,
    ) -> Self:
        """Computes the principal components of all patches of a set of images.

        Args:
          x: images `[n, height, width, channels]`.
          epsilon: as in `PCAWhitening.fit`. The default is that of the reference, 5e-4 for images
            of variance 1, in terms of pixels in [0, 1].
          components: as in `PCAWhitening.fit`.
          size: height and width of a patch.
          max_patches: if there are more patches, those of evenly spaced images are used, at least
            of one.

        Raises:
          ValueError: `x` has other dimensions or no two patches, or `size` or `max_patches` is not
            positive.
        """
        check_set(x)
        if x.ndim != 4:
            raise ValueError(f"`x` must be [n, height, width, channels], got shape {x.shape}")
        if size < 1 or max_patches < 1:
            raise ValueError(
                f"`size` and `max_patches` must be positive, got {size} and {max_patches}"
            )
        patches_per_image = math.prod(_grid(x.shape, size))
        if len(x) * patches_per_image < 2:
            raise ValueError(f"`x` must have at least 2 patches, got shape {x.shape}")
        count = max(max_patches // patches_per_image, 1)
        used = np.linspace(0, len(x) - 1, min(count, len(x))).astype(np.int64)
        patches = _patches(x[used], size).reshape(-1, size, size, x.shape[3])
        return super().fit(patches, epsilon=epsilon, components=components)

    @classmethod
    def whitened_shape(cls, example_shape: Sequence[int], features: int) -> tuple[int, ...]:
        """Recovers `shape` from the shape of an example and the number of features."""
        channels = example_shape[-1]
        size = math.isqrt(features // channels)
        return size, size, channels

    def apply(self, x: Array) -> Array:
        """Returns `[..., height - size + 1, width - size + 1, components]` of images."""
        size, _, channels = self.shape
        if x.shape[-1:] != (channels,):
            raise ValueError(f"`x` must be [..., height, width, {channels}], got shape {x.shape}")
        return super().apply(_patches(x, size))

    def invert(self, y: Array) -> Array:
        """Applies the pseudo-inverse to each patch and averages where patches overlap."""
        size, _, channels = self.shape
        if y.ndim < 3 or y.shape[-1:] != self.deviation.shape:
            raise ValueError(
                f"`y` must be [..., height, width, {self.deviation.size}], got shape {y.shape}"
            )
        patches = self._unwhiten(y, y.shape[:-1])
        height, width = (length + size - 1 for length in y.shape[-3:-1])
        total = jnp.zeros((*y.shape[:-3], height, width, channels), patches.dtype)
        for i, j in np.ndindex(size, size):
            rows, columns = slice(i, i + y.shape[-3]), slice(j, j + y.shape[-2])
            total = total.at[..., rows, columns, :].add(patches[..., i, j, :])
        overlaps = [np.convolve(np.ones(length), np.ones(size)) for length in y.shape[-3:-1]]
        counts = jnp.asarray(np.outer(*overlaps)[..., None], total.dtype)
        return (total / broadcast(counts, total)).astype(y.dtype)


def _patches(x: Any, size: int) -> Any:
    """Returns the patches `[..., height - size + 1, width - size + 1, size, size, channels]`."""
    height, width = _grid(x.shape, size)
    stack = np.stack if isinstance(x, np.ndarray) else jnp.stack
    shifted = [x[..., i : height + i, j : width + j, :] for i, j in np.ndindex(size, size)]
    return stack(shifted, axis=-2).reshape(*x.shape[:-3], height, width, size, size, x.shape[-1])


def _grid(shape: tuple[int, ...], size: int) -> tuple[int, int]:
    """Returns the number of patches along the height and the width of an image."""
    if len(shape) < 3 or min(shape[-3:-1]) < size:
        raise ValueError(
            f"`x` must be [..., height, width, channels] of at least {size}x{size} pixels, got "
            f"shape {shape}"
        )
    return shape[-3] - size + 1, shape[-2] - size + 1


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
