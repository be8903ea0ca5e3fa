"""Input normalisation: pure functions of images, and the values that hold fitted statistics.

A fitted value is a pytree with `fit(x)`, on the host, `apply(x)` and `invert(y)`, which compile and
map. Integers are pixels everywhere: they are scaled to [0, 1] first, and `invert` gives that scale.
"""

import math
from collections.abc import Callable
from typing import Any, Self

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax

from jaxml.layers.moments import center
from jaxml.types import Array, Float, Integer, Num


def to_unit_interval(images: Num[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Scales integer images to [0, 1] in float32: `x / max(dtype)`; floats pass unchanged.

    Args:
      images: any shape; integers, or floats that are taken to be in [0, 1] already. Negative
        integers become negative.

    Returns:
      The same shape, float32 where the input was an integer, else the input's dtype.

    Raises:
      TypeError: neither integers nor floats.

    Example:
      >>> to_unit_interval(jnp.array([0, 255], jnp.uint8)).tolist()
      [0.0, 1.0]

    Source: the scaling of `tf.image.convert_image_dtype`.
    """
    if jnp.issubdtype(images.dtype, jnp.floating):
        return images
    if not jnp.issubdtype(images.dtype, jnp.integer):
        raise TypeError(f"images: integers or floating point, not {images.dtype}")
    return images.astype(jnp.float32) / np.float32(jnp.iinfo(images.dtype).max)


def from_unit_interval(
    images: Float[Array, "*shape"], dtype: Any = jnp.uint8
) -> Integer[Array, "*shape"]:
    r"""Scales images in [0, 1] to integers, with saturation.

    .. math:: y = \lfloor x (m + 1/2) \rfloor \text{ towards 0, clipped to the range of the dtype}

    where m is the dtype's largest number: each integer but the first and last has an interval of
    the same length. It undoes `to_unit_interval` for up to 16 bits; 32 bits have more digits than
    float32, whose own largest number below m is the largest then.

    Args:
      images: any shape, floating point; 1 is the largest integer.
      dtype: an integer dtype.

    Returns:
      The same shape, in the dtype.

    Raises:
      TypeError: images that are not floating point, or a dtype that is not an integer's.

    Example:
      >>> from_unit_interval(jnp.array([-0.5, 0.5, 1.0, 7.0])).tolist()
      [0, 127, 255, 255]

    Source: `tf.image.convert_image_dtype(images, dtype, saturate=True)`.
    """
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f"images: floating point, not {images.dtype}")
    if not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(f"dtype: an integer dtype, not {np.dtype(dtype)}")
    limits = jnp.iinfo(dtype)
    x = images.astype(np.promote_types(images.dtype, np.float32))
    largest = np.asarray(limits.max, x.dtype)
    if int(largest) > limits.max:  # 32 bits have more digits than float32
        largest = np.nextafter(largest, np.zeros_like(largest))
    scaled = x * (limits.max + 0.5)
    return jnp.clip(scaled, np.asarray(limits.min, x.dtype), largest).astype(dtype)


def per_image_standardization(
    images: Num[Array, "*batch height width channels"],
) -> Num[Array, "*batch height width channels"]:
    r"""Scales each image linearly to mean 0 and variance 1.

    .. math:: y = \frac{x - \mu}{\max(\sigma, 1 / \sqrt{N})}

    with the mean and the (biased) standard deviation over the last three dimensions, which hold N
    values. The lower bound on the divisor keeps a constant image finite.

    Integer images are scaled to [0, 1] first, and the result is scaled back with saturation
    (`to_unit_interval`, `from_unit_interval`): unsigned ones lose all below the mean, so that
    training takes the floats, `per_image_standardization(to_unit_interval(images))`.

    Args:
      images: `[..., height, width, channels]`, floating point or integers.

    Returns:
      The same shape and dtype; the statistics are taken in float32 at least.

    Raises:
      ValueError: fewer than three dimensions, or images without a value.
      TypeError: neither integers nor floats.

    Example:
      >>> y = per_image_standardization(jnp.arange(12.0).reshape(2, 2, 3))
      >>> round(float(y.std()), 4)
      1.0

    Source: the meaning of `tf.image.per_image_standardization`, which takes the statistics of
    float16 in float16, and those of float64 in float32.
    """
    if images.ndim < 3:
        raise ValueError(f"images: at least [height, width, channels], not shape {images.shape}")
    if 0 in images.shape[-3:]:
        raise ValueError(f"images: at least one value in each, not shape {images.shape}")
    if jnp.issubdtype(images.dtype, jnp.integer):
        return from_unit_interval(per_image_standardization(to_unit_interval(images)), images.dtype)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f"images: integers or floating point, not {images.dtype}")
    values, _, mean, variance = center(images, (-3, -2, -1))
    least = np.asarray(1 / math.prod(images.shape[-3:]), values.dtype)
    variance = jnp.where(jnp.isinf(variance), jnp.nan, variance)  # not zeros where it overflows
    scale = lax.rsqrt(jnp.maximum(variance, least))
    return ((values - mean) * scale).astype(images.dtype)


class UnitInterval(struct.PyTreeNode):
    """Pixels in [0, 1]: `x / 255` for uint8. It has no statistics."""

    @classmethod
    def fit(cls, x: Any) -> Self:
        """Nothing is fitted."""
        del x
        return cls()

    def apply(self, x: Array) -> Array:
        """Images of any shape in [0, 1], floating point."""
        return to_unit_interval(x)

    def invert(self, y: Array) -> Array:
        """The images in [0, 1], which they are already; `from_unit_interval` gives integers."""
        return y


class PerImageStandardization(struct.PyTreeNode):
    """Every image by its own mean and standard deviation; it has no statistics of the set."""

    @classmethod
    def fit(cls, x: Any) -> Self:
        """Nothing is fitted."""
        del x
        return cls()

    def apply(self, x: Array) -> Array:
        """Images `[..., height, width, channels]` with mean 0 and variance 1 each."""
        return per_image_standardization(to_unit_interval(x))

    def invert(self, y: Array) -> Array:
        """Not possible: the mean and the deviation of each image are lost.

        Raises:
          TypeError: always.
        """
        del y
        raise TypeError(f"{type(self).__name__}: the statistics of each image are lost by apply")


class ChannelStandardization(struct.PyTreeNode):
    r"""Every channel (or feature) by its mean and standard deviation over a set.

    .. math:: y_c = (x_c - \mu_c) / \sigma_c

    Attributes:
      mean: `[channels]` float32 (float64 under x64); of pixels, on the scale of [0, 1].
      std: `[channels]` likewise, biased; a channel that is constant over the set has 1.

    Example:
      >>> images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
      >>> y = ChannelStandardization.fit(images).apply(jnp.asarray(images))
      >>> bool(jnp.allclose(y.std((0, 1, 2)), 1.0, atol=1e-4))
      True

    Source: the meaning of scikit-learn's `StandardScaler`, for any number of dimensions.
    """

    mean: Array
    std: Array

    @classmethod
    def fit(cls, x: np.ndarray) -> Self:
        """Takes the statistics of a set.

        Of uint8 images the sums are over a histogram of the 256 values, so nothing is rounded
        however large the set is; of others they are float64.

        Args:
          x: uint8 or uint16 images `[n, height, width, channels]`, or floats `[n, ..., channels]`.

        Raises:
          ValueError: another shape, no examples, or values that are not finite.
          TypeError: another dtype.
        """
        _check_set(x)
        if x.dtype == np.uint8:
            mean, variance, constant = _histogram_moments(x)
        else:
            values = _pixels(x).reshape(-1, x.shape[-1])
            mean, variance, constant = values.mean(0), values.var(0), np.ptp(values, 0) == 0
        std = np.where(constant, 1.0, np.sqrt(variance))
        return cls(mean=jnp.asarray(mean), std=jnp.asarray(std))

    def apply(self, x: Array) -> Array:
        """`[..., channels]`, each channel standardised, in the dtype of x (pixels: float32)."""
        x = to_unit_interval(x)
        return _by_channel(lambda v, mean, std: (v - mean) / std, x, self.mean, self.std)

    def invert(self, y: Array) -> Array:
        """The `[..., channels]` that `apply` made y of; of pixels, on the scale of [0, 1]."""
        return _by_channel(lambda v, mean, std: v * std + mean, y, self.mean, self.std)


class MinMaxScaling(struct.PyTreeNode):
    r"""Every channel (or feature) from its range over a set to a given one.

    .. math:: y_c = l + (u - l) \frac{x_c - \min_c}{\max_c - \min_c}

    Values outside the range of the set land outside [l, u]. A channel that is constant over the set
    lands on l, and its other values at their distance times u - l.

    Attributes:
      minimum: `[channels]` float32 (float64 under x64); of pixels, on the scale of [0, 1].
      maximum: `[channels]` likewise.
      lower: l.
      upper: u.

    Example:
      >>> scaling = MinMaxScaling.fit(np.array([[1.0, 10.0], [3.0, 30.0]]), lower=-1.0)
      >>> scaling.apply(jnp.array([2.0, 30.0])).tolist()
      [0.0, 1.0]

    Source: the meaning of scikit-learn's `MinMaxScaler`, for any number of dimensions.
    """

    minimum: Array
    maximum: Array
    lower: float = struct.field(pytree_node=False, default=0.0)
    upper: float = struct.field(pytree_node=False, default=1.0)

    @classmethod
    def fit(cls, x: np.ndarray, *, lower: float = 0.0, upper: float = 1.0) -> Self:
        """Takes the range of each channel of a set.

        Args:
          x: uint8 or uint16 images `[n, height, width, channels]`, or floats `[n, ..., channels]`.
          lower: what the minimum becomes.
          upper: what the maximum becomes, greater than lower.

        Raises:
          ValueError: another shape, no examples, values that are not finite, or an empty range.
          TypeError: another dtype.
        """
        _check_set(x)
        if not lower < upper:
            raise ValueError(f"upper: greater than lower, {lower}, not {upper}")
        axes = tuple(range(x.ndim - 1))
        minimum, maximum = (jnp.asarray(_pixels(v)) for v in (x.min(axes), x.max(axes)))
        return cls(minimum=minimum, maximum=maximum, lower=lower, upper=upper)

    def apply(self, x: Array) -> Array:
        """`[..., channels]`, each channel scaled, in the dtype of x (pixels: float32)."""

        def scale(x: Array, minimum: Array, maximum: Array) -> Array:
            return (x - minimum) / _span(minimum, maximum) * (self.upper - self.lower) + self.lower

        return _by_channel(scale, to_unit_interval(x), self.minimum, self.maximum)

    def invert(self, y: Array) -> Array:
        """The `[..., channels]` that `apply` made y of; of pixels, on the scale of [0, 1]."""

        def unscale(y: Array, minimum: Array, maximum: Array) -> Array:
            return (y - self.lower) / (self.upper - self.lower) * _span(minimum, maximum) + minimum

        return _by_channel(unscale, y, self.minimum, self.maximum)


class PCAWhitening(struct.PyTreeNode):
    r"""The principal components of a set, uncorrelated and of variance 1 (less for epsilon).

    .. math:: z = \mathrm{diag}(\lambda + \epsilon)^{-1/2} V^\top (x - \mu)

    with x the features of an example in one row, their mean over the set, and the eigenvectors V
    and eigenvalues of their (unbiased) covariance, the largest first.

    Fitting takes the cube of the number of features in time, and its square in memory: some
    thousand features are many.

    Attributes:
      mean: `[features]` float32 (float64 under x64); of pixels, on the scale of [0, 1].
      basis: V, `[features, components]`; the largest entry of each eigenvector is positive.
      deviation: the root of each eigenvalue plus epsilon, `[components]`.
      shape: of an example.

    Example:
      >>> x = np.random.default_rng(0).normal(size=(100, 4)) @ np.diag([1.0, 2.0, 3.0, 4.0])
      >>> z = PCAWhitening.fit(x, epsilon=0.0, components=2).apply(jnp.asarray(x))
      >>> bool(jnp.allclose(jnp.cov(z.T), jnp.eye(2), atol=1e-4))
      True

    Source: scikit-learn's `PCA(whiten=True)` where epsilon is 0.
    """

    mean: Array
    basis: Array
    deviation: Array
    shape: tuple[int, ...] = struct.field(pytree_node=False)

    @classmethod
    def fit(cls, x: np.ndarray, *, epsilon: float = 1e-2, components: int | None = None) -> Self:
        """Takes the principal components of a set, in float64.

        Args:
          x: uint8 or uint16 images `[n, height, width, channels]`, or floats `[n, *shape]`; n is
            2 at least.
          epsilon: added to each eigenvalue, not negative. It keeps directions of little variance
            small: the default suits pixels in [0, 1] and features of variance about 1.
          components: how many to keep; None keeps all, or the rank of the set where epsilon is 0.

        Raises:
          ValueError: another shape, fewer than two examples, values that are not finite, a negative
            epsilon, or more components than there are.
          TypeError: another dtype.
        """
        _check_set(x, least=2)
        if not epsilon >= 0:
            raise ValueError(f"epsilon: at least 0, not {epsilon}")
        mean, covariance = _covariance(x.reshape(len(x), -1))
        variances, basis = np.linalg.eigh(covariance)
        variances, basis = np.maximum(variances[::-1], 0.0), basis[:, ::-1]
        noise = max(x.shape[0], len(variances)) * np.finfo(np.float64).eps * variances[0]
        available = len(variances) if epsilon else int((variances > noise).sum())
        if not available:
            raise ValueError("epsilon: greater than 0 for a set that does not vary, not 0")
        kept = available if components is None else components
        if not 1 <= kept <= available:
            raise ValueError(f"components: 1 to {available} for this set, not {kept}")
        # An eigenvector has no sign of its own; this one is the same on every machine.
        largest = np.take_along_axis(basis, np.abs(basis).argmax(0)[None], axis=0)
        return cls(
            mean=jnp.asarray(mean),
            basis=jnp.asarray((basis * np.sign(largest))[:, :kept]),
            deviation=jnp.asarray(np.sqrt(variances[:kept] + epsilon)),
            shape=x.shape[1:],
        )

    def apply(self, x: Array) -> Array:
        """`[..., *shape]` to `[..., components]`, in the dtype of x (pixels: float32)."""
        x = to_unit_interval(x)
        return self._whiten(x).astype(x.dtype)

    def invert(self, y: Array) -> Array:
        """`[..., components]` to `[..., *shape]`: the pseudo-inverse, exact if none is left out."""
        if y.shape[-1:] != self.deviation.shape:
            raise ValueError(f"y: [..., {self.deviation.size}], not shape {y.shape}")
        return self._unwhiten(y, y.shape[:-1]).astype(y.dtype)

    def _whiten(self, x: Array) -> Array:
        """The components, in float32 at least."""
        lead = _lead("x", x, self.shape)
        rows, mean, basis, deviation = _wide(x, self.mean, self.basis, self.deviation)
        rows = rows.reshape(*lead, mean.size)
        z = _matmul(rows - _like(mean, rows), basis)
        return z / _like(deviation, z)

    def _unwhiten(self, z: Array, lead: tuple[int, ...]) -> Array:
        """Components `[*lead, components]` to `[*lead, *shape]`, in float32 at least."""
        z, mean, basis, deviation = _wide(z, self.mean, self.basis, self.deviation)
        rows = _matmul(z * _like(deviation, z), basis.T)
        return (rows + _like(mean, rows)).reshape(*lead, *self.shape)


class ZCAWhitening(PCAWhitening):
    r"""The principal components of a set at variance 1, turned back: as near to x as can be.

    .. math:: y = V \mathrm{diag}(\lambda + \epsilon)^{-1/2} V^\top (x - \mu)

    with V and the eigenvalues as in `PCAWhitening`, whose attributes and `fit` it has. Whitened
    images keep their shape and look like images.

    Example:
      >>> x = np.random.default_rng(0).normal(size=(100, 2)) @ np.array([[1.0, 1.0], [0.0, 1.0]])
      >>> y = ZCAWhitening.fit(x, epsilon=0.0).apply(jnp.asarray(x))
      >>> bool(jnp.allclose(jnp.cov(y.T), jnp.eye(2), atol=1e-4))
      True

    Source: Bell, Sejnowski, "The 'Independent Components' of Natural Scenes are Edge Filters",
    1997; Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. Keras'
    `ImageDataGenerator` divides the covariance by n and has an epsilon of 1e-6.
    """

    def apply(self, x: Array) -> Array:
        """`[..., *shape]` to the same shape, in the dtype of x (pixels: float32)."""
        x = to_unit_interval(x)
        z, basis = _wide(self._whiten(x), self.basis)
        return _matmul(z, basis.T).reshape(x.shape).astype(x.dtype)

    def invert(self, y: Array) -> Array:
        """`[..., *shape]` to the same shape: the pseudo-inverse, exact if none is left out."""
        lead = _lead("y", y, self.shape)
        rows, basis = _wide(y.reshape(*lead, self.mean.size), self.basis)
        return self._unwhiten(_matmul(rows, basis), lead).astype(y.dtype)


Normalizer = (
    UnitInterval
    | PerImageStandardization
    | ChannelStandardization
    | MinMaxScaling
    | PCAWhitening
    | ZCAWhitening
)

NORMALIZERS: dict[str, type[Normalizer]] = {
    "per_image": PerImageStandardization,
    "per_channel": ChannelStandardization,
    "unit": UnitInterval,
    "min_max": MinMaxScaling,
    "pca": PCAWhitening,
    "zca": ZCAWhitening,
}


def _check_set(x: np.ndarray, *, least: int = 1) -> None:
    """Raises unless x is a set that a normaliser can be fitted on."""
    pixels = x.dtype in (np.uint8, np.uint16)
    if not pixels and not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"x: uint8, uint16 or floating point, not {x.dtype}")
    if pixels and x.ndim != 4:
        raise ValueError(f"x: [n, height, width, channels] of {x.dtype}, not shape {x.shape}")
    if x.ndim < 2:
        raise ValueError(f"x: [n, ..., channels], not shape {x.shape}")
    if len(x) < least or not x.size:
        raise ValueError(f"x: at least {least} examples and no empty dimension, not {x.shape}")
    if not pixels and not np.isfinite(x).all():
        raise ValueError("x: finite values, not NaN or infinity")


def _pixels(x: np.ndarray) -> np.ndarray:
    """`to_unit_interval` on the host, in float64."""
    scale = np.iinfo(x.dtype).max if jnp.issubdtype(x.dtype, jnp.integer) else 1
    return np.asarray(x).astype(np.float64) / scale


def _histogram_moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and variance of each channel of uint8 images, and whether the channel is constant."""
    channels = np.moveaxis(images, -1, 0)
    counts = np.stack([np.bincount(c.ravel(), minlength=256) for c in channels])
    values = np.arange(256) / 255
    mean = counts @ values / counts.sum(1)
    variance = (counts * np.square(values - mean[:, None])).sum(1) / counts.sum(1)
    return mean, variance, (counts > 0).sum(1) == 1


def _covariance(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and unbiased covariance; a part of the rows at a time is float64."""
    parts = np.array_split(rows, math.ceil(len(rows) / 1024))
    mean = np.sum([_pixels(part).sum(0) for part in parts], axis=0) / len(rows)
    covariance = np.zeros((rows.shape[1], rows.shape[1]))
    for part in parts:
        centred = _pixels(part) - mean
        covariance += centred.T @ centred
    return mean, covariance / (len(rows) - 1)


def _span(minimum: Array, maximum: Array) -> Array:
    """The divisor of a range, 1 where it is empty."""
    span = maximum - minimum
    return jnp.where(span == 0, jnp.ones_like(span), span)


def _by_channel(function: Callable[..., Array], x: Array, *fitted: Array) -> Array:
    """A function of x and one value a channel, computed in float32 at least and rounded once."""
    if x.shape[-1:] != fitted[0].shape:
        raise ValueError(f"x: [..., {fitted[0].size}] as in the set, not shape {x.shape}")
    wide, *values = _wide(x, *fitted)
    return function(wide, *(_like(value, wide) for value in values)).astype(x.dtype)


def _lead(name: str, x: Array, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The dimensions before those of an example."""
    lead = x.shape[: max(x.ndim - len(shape), 0)]
    if x.shape != lead + shape:
        raise ValueError(f"{name}: [..., {', '.join(map(str, shape))}], not shape {x.shape}")
    return lead


def _wide(x: Array, *fitted: Array) -> list[Array]:
    """All in the dtype of x, or in float32 where that is wider."""
    dtype = np.promote_types(x.dtype, np.float32)
    return [value.astype(dtype) for value in (x, *fitted)]


def _like(value: Array, x: Array) -> Array:
    """A value for each entry of the last dimension, in the shape of x."""
    return jnp.broadcast_to(value, x.shape)


def _matmul(x: Array, y: Array) -> Array:
    # The digits that an accelerator leaves out by default are those that cancel here.
    return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)
