"""Random Fourier features: the RBF kernel as a product of finitely many features."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxml.losses import _inputs as inputs
from jaxml.types import Array, Float, Key


def fourier_frequencies(
    key: Key,
    num_inputs: int,
    num_features: int,
    *,
    gamma: float | Float[Array, ""],
    orthogonal: bool = False,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Float[Array, "inputs frequencies"]:
    r"""Draws the frequencies whose features have the RBF kernel as their mean product.

    .. math:: \omega_j \sim \mathcal{N}(0, 2 \gamma I), \qquad
        \mathbb{E} \cos(\omega_j^\top (x - z)) = e^{-\gamma |x - z|^2}

    Orthogonal ones have the same distribution one by one, but those of each group of `num_inputs`
    have directions at right angles: the estimate stays unbiased and its variance is smaller, most
    of all for near points.

    Args:
      key: PRNG key.
      num_inputs: of each example, at least 1.
      num_features: D, even and at least 2: a cosine and a sine for each frequency.
      gamma: of the kernel, above 0.
      orthogonal: whether directions are drawn at right angles, which costs a QR decomposition of
        `[num_inputs, num_inputs]` for each group.
      dtype: float32 or float64.

    Returns:
      `[num_inputs, num_features / 2]`: the parameter of `fourier_features`.

    Raises:
      ValueError: a number or gamma out of its range.

    Example:
      >>> fourier_frequencies(jax.random.key(0), 4, 10, gamma=0.5).shape
      (4, 5)

    Source: Rahimi and Recht, "Random features for large-scale kernel machines", 2007; orthogonal:
    Yu et al., "Orthogonal random features", 2016.
    """
    if num_inputs < 1:
        raise ValueError(f"num_inputs: at least 1, not {num_inputs}")
    if num_features < 2 or num_features % 2:
        raise ValueError(f"num_features: even and at least 2, not {num_features}")
    if isinstance(gamma, float | int) and not gamma > 0:
        raise ValueError(f"gamma: above 0, not {gamma}")
    count = num_features // 2
    draw_key, turn_key = jax.random.split(key)
    normal = jax.random.normal(draw_key, (num_inputs, count), dtype)
    if orthogonal:
        # A normal vector's length does not depend on its direction: only the latter is replaced.
        groups = -(-count // num_inputs)
        turns = jax.random.orthogonal(turn_key, num_inputs, (groups,), dtype)
        directions = jnp.moveaxis(turns, 0, 1).reshape(num_inputs, -1)[:, :count]
        normal = directions * jnp.linalg.norm(normal, axis=0, keepdims=True)
    return normal * jnp.sqrt(2 * jnp.asarray(gamma, normal.dtype))


def fourier_features(
    x: Float[Array, "*batch inputs"], frequencies: Float[Array, "inputs frequencies"]
) -> Float[Array, "*batch features"]:
    r"""A cosine and a sine of each frequency: their products estimate the RBF kernel.

    .. math::
        \phi(x) = \sqrt{\tfrac{2}{D}} \, [\cos(\omega_1^\top x), \ldots, \sin(\omega_1^\top x),
        \ldots], \qquad \phi(x)^\top \phi(z) \approx k(x, z) = e^{-\gamma |x - z|^2}

    With the pairs, products depend on the difference of two points alone, every example has the
    length 1, and the variance at D features of independent frequencies,

    .. math:: \frac{1}{D} \left(1 + k^4 - 2 k^2\right) = \frac{(1 - k^2)^2}{D},

    is below that of the other form, :math:`\sqrt{2/D} \cos(\omega^\top x + b)` with D frequencies
    and random phases, by :math:`(k^2 - k^4/2) / D` everywhere: this is why there is no other here.

    Args:
      x: `[..., inputs]`, floating point.
      frequencies: `[inputs, D / 2]`, those of `fourier_frequencies`.

    Returns:
      `[..., D]` in x's dtype, cosines first; computed in float32 at least.

    Raises:
      ValueError: another number of inputs than the frequencies have.
      TypeError: x or frequencies that are not floating point.

    Example:
      >>> frequencies = fourier_frequencies(jax.random.key(0), 2, 2000, gamma=0.5)
      >>> a, b = fourier_features(jnp.array([[0.0, 0.0], [1.0, 0.0]]), frequencies)
      >>> bool(abs(a @ b - jnp.exp(-0.5)) < 0.05)
      True

    Source: Rahimi and Recht, 2007; the variances: Sutherland and Schneider, "On the error of random
    Fourier features", 2015. scikit-learn's `RBFSampler` is the form with phases.
    """
    inputs.check_real("x", x)
    inputs.check_real("frequencies", frequencies)
    if frequencies.ndim != 2 or not x.ndim or x.shape[-1] != len(frequencies):
        raise ValueError(f"x: [..., inputs] for frequencies {frequencies.shape}, not {x.shape}")
    wide, omega = inputs.at_least_float32(x, frequencies)
    # What an accelerator rounds by default would be lost from phases of many turns.
    phases = jnp.matmul(wide, omega, precision=lax.Precision.HIGHEST)
    pairs = jnp.concatenate([jnp.cos(phases), jnp.sin(phases)], axis=-1)
    return (pairs / jnp.sqrt(jnp.asarray(omega.shape[1], pairs.dtype))).astype(x.dtype)
