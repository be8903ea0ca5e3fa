r"""Nystroem features: finitely many features whose products approximate any kernel.

A kernel is a positive semidefinite function `(x, z) -> [examples of x, examples of z]`, and the
:math:`m` landmarks are examples at which it is evaluated. Arguments of other shapes raise
`ValueError`.

    >>> x = jnp.array([[3.0, 4.0]])
    >>> def linear(x, z):
    ...     return x @ z.T
    >>> root = nystroem_root(x, kernel=linear)
    >>> nystroem_features(x, x, root, kernel=linear).round(4).tolist()
    [[5.0]]

Source: Williams and Seeger, "Using the Nystroem method to speed up kernel machines", 2001.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxml.losses import _inputs as inputs
from jaxml.types import Array, Float, Key

__all__ = ["nystroem_features", "nystroem_root", "pivoted_landmarks", "uniform_landmarks"]

Kernel = Callable[[Array, Array], Array]


def uniform_landmarks(
    key: Key, x: Float[Array, "examples inputs"], num_landmarks: int
) -> Float[Array, "landmarks inputs"]:
    """Draws distinct examples uniformly."""
    _check_count(x, num_landmarks)
    return x[jax.random.choice(key, len(x), (num_landmarks,), replace=False)]


def pivoted_landmarks(
    key: Key, x: Float[Array, "examples inputs"], num_landmarks: int, *, kernel: Kernel
) -> Float[Array, "landmarks inputs"]:
    r"""Draws examples one after another, in proportion to what the earlier ones do not explain.

    .. math:: P(i) \propto k(x_i, x_i) - k_i^\top K_{mm}^{-1} k_i

    This partial Cholesky decomposition with random pivots finds small groups that uniform draws
    miss. It evaluates the kernel of each landmark with all examples, and stores
    `[examples, num_landmarks]` numbers. Once all examples are explained, they may be drawn again.

    Example:
      >>> x = jnp.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
      >>> found = pivoted_landmarks(jax.random.key(0), x, 2, kernel=lambda x, z: x @ z.T)
      >>> sorted(found.tolist())
      [[0.0, 1.0], [1.0, 0.0]]

    Source: Chen, Epperly, Tropp, Webber, "Randomly pivoted Cholesky", 2023, algorithm 2.1.
    """
    _check_count(x, num_landmarks)
    diagonal = jax.vmap(lambda row: kernel(row[None], row[None])[0, 0])(x)
    # Explained examples are not drawn because of their rounding errors.
    noise = 10 * jnp.finfo(diagonal.dtype).eps * diagonal

    def draw(step: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        pivots, factor, residual = carry
        log_weights = jnp.where(residual > noise, jnp.log(residual), -jnp.inf)
        log_weights = jnp.where(jnp.isneginf(log_weights).all(), 0.0, log_weights)
        pivot = jax.random.categorical(jax.random.fold_in(key, step), log_weights)
        row = lax.dynamic_slice_in_dim(x, pivot, 1)
        left = kernel(x, row)[:, 0] - _product(factor, factor[pivot])
        scale = jnp.maximum(residual[pivot], noise[pivot])
        column = left / jnp.sqrt(jnp.where(scale > 0, scale, 1))
        residual = jnp.maximum(residual - column**2, 0).at[pivot].set(0)
        return pivots.at[step].set(pivot), factor.at[:, step].set(column), residual

    factor = jnp.zeros((len(x), num_landmarks), diagonal.dtype)
    pivots = jnp.zeros(num_landmarks, jnp.int32)
    return x[lax.fori_loop(0, num_landmarks, draw, (pivots, factor, diagonal))[0]]


def nystroem_root(
    landmarks: Float[Array, "landmarks inputs"], *, kernel: Kernel, cutoff: float | None = None
) -> Float[Array, "landmarks landmarks"]:
    r"""Computes the inverse square root of the kernel matrix of the landmarks.

    .. math:: K_{mm}^{-1/2} = V \Lambda^{-1/2} V^\top, \qquad K_{mm} = V \Lambda V^\top

    Landmarks may be repeated. Eigenvalues of at most `cutoff` (by default m times the machine
    epsilon) times the largest are left out, because they are rounding errors, which the root would
    amplify. scikit-learn raises them to 1e-12 instead.
    """
    if cutoff is not None and not 0 <= cutoff < 1:
        raise ValueError(f"`cutoff` must be in [0, 1), got {cutoff}")
    gram = _matrix(kernel, landmarks, landmarks)
    if cutoff is None:
        cutoff = len(gram) * float(jnp.finfo(gram.dtype).eps)
    values, vectors = jnp.linalg.eigh(gram)
    kept = values > cutoff * values[-1]
    scales = jnp.where(kept, lax.rsqrt(jnp.where(kept, values, 1)), 0)
    return _product(vectors * scales[None], vectors.T)


def nystroem_features(
    x: Float[Array, "examples inputs"],
    landmarks: Float[Array, "landmarks inputs"],
    root: Float[Array, "landmarks landmarks"],
    *,
    kernel: Kernel,
) -> Float[Array, "examples landmarks"]:
    r"""Computes features whose products approximate the kernel.

    .. math:: \phi(x) = K_{mm}^{-1/2} k_m(x), \qquad
        \phi(x)^\top \phi(z) = k_m(x)^\top K_{mm}^{-1} k_m(z) \approx k(x, z)

    The approximation is exact if x or z is a landmark. The root is that of `nystroem_root` for the
    same landmarks and kernel.
    """
    if x.ndim != 2 or x.shape[1:] != landmarks.shape[1:]:
        raise ValueError(
            f"`x` must be [examples, inputs] for landmarks {landmarks.shape}, got {x.shape}"
        )
    if root.shape != (len(landmarks), len(landmarks)):
        raise ValueError(f"`root` must be [m, m] for landmarks {landmarks.shape}, got {root.shape}")
    return _product(_matrix(kernel, x, landmarks), root)


def _check_count(x: Array, num_landmarks: int) -> None:
    if x.ndim != 2:
        raise ValueError(f"`x` must be [examples, inputs], got {x.shape}")
    if not 1 <= num_landmarks <= len(x):
        raise ValueError(f"`num_landmarks` must be from 1 to {len(x)}, got {num_landmarks}")


def _matrix(kernel: Kernel, x: Array, landmarks: Array) -> Array:
    """Computes the kernel matrix and checks its shape."""
    inputs.check_real("landmarks", landmarks)
    if landmarks.ndim != 2 or not len(landmarks):
        raise ValueError(f"`landmarks` must be [m, inputs] with m >= 1, got {landmarks.shape}")
    values = kernel(x, landmarks)
    if values.shape != (len(x), len(landmarks)):
        raise ValueError(
            f"`kernel` must return [{len(x)}, {len(landmarks)}] for x {x.shape} and landmarks "
            f"{landmarks.shape}, got {values.shape}"
        )
    return values


def _product(x: Array, y: Array) -> Array:
    # The root amplifies the digits that accelerators drop by default.
    return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)
