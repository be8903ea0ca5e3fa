"""Random Fourier features: finitely many features whose products estimate the RBF kernel.

Source: Rahimi and Recht, "Random features for large-scale kernel machines", 2007.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxml.losses import _inputs as inputs
from jaxml.types import Array, Float, Key

__all__ = ["fourier_features", "fourier_frequencies"]


def fourier_frequencies(
    key: Key,
    num_inputs: int,
    num_features: int,
    *,
    gamma: float | Float[Array, ""],
    orthogonal: bool = False,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Float[Array, "inputs frequencies"]:
    r"""Draws the frequencies of features whose expected product is the RBF kernel.

    .. math:: \omega_j \sim \mathcal{N}(0, 2 \gamma I), \qquad
        \mathbb{E} \cos(\omega_j^\top (x - z)) = e^{-\gamma |x - z|^2}

    Args:
      key: PRNG key.
      num_inputs: Number of inputs of an example.
      num_features: Number of features D, even: a cosine and a sine per frequency.
      gamma: Positive parameter of the kernel.
      orthogonal: Whether the directions are orthogonal within groups of `num_inputs`. The estimate
        stays unbiased and has less variance, mostly for near points, at the cost of a QR
        decomposition of `[num_inputs, num_inputs]` per group.
      dtype: float32 or float64.

    Returns:
      `[num_inputs, num_features / 2]`: the parameter of `fourier_features`.

    Source, orthogonal: Yu et al., "Orthogonal random features", 2016.
    """
    if num_inputs < 1:
        raise ValueError(f"`num_inputs` must be >= 1, got {num_inputs}")
    if num_features < 2 or num_features % 2:
        raise ValueError(f"`num_features` must be even and >= 2, got {num_features}")
    if isinstance(gamma, float | int) and not gamma > 0:
        raise ValueError(f"`gamma` must be positive, got {gamma}")
    count = num_features // 2
    draw_key, turn_key = jax.random.split(key)
    normal = jax.random.normal(draw_key, (num_inputs, count), dtype)
    if orthogonal:
        # The length of a normal vector is independent of its direction, which alone is replaced.
        groups = -(-count // num_inputs)
        turns = jax.random.orthogonal(turn_key, num_inputs, (groups,), dtype)
        directions = jnp.moveaxis(turns, 0, 1).reshape(num_inputs, -1)[:, :count]
        normal = directions * jnp.linalg.norm(normal, axis=0, keepdims=True)
    return normal * jnp.sqrt(2 * jnp.asarray(gamma, normal.dtype))


def fourier_features(
    x: Float[Array, "*batch inputs"], frequencies: Float[Array, "inputs frequencies"]
) -> Float[Array, "*batch features"]:
    r"""Computes the cosine and the sine of each frequency, D features in total.

    .. math::
        \phi(x) = \sqrt{\tfrac{2}{D}} \, [\cos(\omega_1^\top x), \ldots, \sin(\omega_1^\top x),
        \ldots], \qquad \phi(x)^\top \phi(z) \approx k(x, z) = e^{-\gamma |x - z|^2}

    Products depend on the difference of two points only, and every example has norm 1. With
    independent frequencies the variance :math:`(1 - k^2)^2 / D` is smaller by
    :math:`(k^2 - k^4/2) / D` than with D random phases, :math:`\sqrt{2/D} \cos(\omega^\top x + b)`,
    which scikit-learn's `RBFSampler` uses.

    The features have the dtype of x, and are computed in at least float32.

    Example:
      >>> frequencies = fourier_frequencies(jax.random.key(0), 2, 2000, gamma=0.5)
      >>> a, b = fourier_features(jnp.array([[0.0, 0.0], [1.0, 0.0]]), frequencies)
      >>> bool(abs(a @ b - jnp.exp(-0.5)) < 0.05)
      True

    Source, variances: Sutherland and Schneider, "On the error of random Fourier features", 2015.
    """
    inputs.check_real("x", x)
    inputs.check_real("frequencies", frequencies)
    if frequencies.ndim != 2 or not x.ndim or x.shape[-1] != len(frequencies):
        raise ValueError(
            f"`x` must be [..., inputs] for frequencies {frequencies.shape}, got {x.shape}"
        )
    wide, omega = inputs.at_least_float32(x, frequencies)
    # Phases of many turns would lose the digits that accelerators drop by default.
    phases = jnp.matmul(wide, omega, precision=lax.Precision.HIGHEST)
    pairs = jnp.concatenate([jnp.cos(phases), jnp.sin(phases)], axis=-1)
    return (pairs / jnp.sqrt(jnp.asarray(omega.shape[1], pairs.dtype))).astype(x.dtype)
