"""Nystroem features: any kernel by its values at a few landmarks."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxml.losses import _inputs as inputs
from jaxml.types import Array, Float, Key

Kernel = Callable[[Array, Array], Array]


def uniform_landmarks(
    key: Key, x: Float[Array, "rows inputs"], num_landmarks: int
) -> Float[Array, "landmarks inputs"]:
    """Draws some of the rows, each at most once, all equally probable.

    Args:
      key: PRNG key.
      x: `[rows, inputs]`.
      num_landmarks: from 1 to rows.

    Returns:
      `[num_landmarks, inputs]` in x's dtype.

    Raises:
      ValueError: more landmarks than rows, or none.

    Example:
      >>> uniform_landmarks(jax.random.key(0), jnp.arange(5.0)[:, None], 5).sum().item()
      10.0

    Source: Williams and Seeger, "Using the Nystroem method to speed up kernel machines", 2001.
    """
    _check_count(x, num_landmarks)
    return x[jax.random.choice(key, len(x), (num_landmarks,), replace=False)]


def pivoted_landmarks(
    key: Key, x: Float[Array, "rows inputs"], num_landmarks: int, *, kernel: Kernel
) -> Float[Array, "landmarks inputs"]:
    r"""Draws rows one after the other, by how much of each the earlier ones leave unexplained.

    .. math:: P(i) \propto k(x_i, x_i) - k_i^\top K_{mm}^{-1} k_i

    which is a partial Cholesky decomposition with random pivots. It finds small groups that
    uniform draws miss, for `num_landmarks` times the kernel of one row with all.

    Args:
      key: PRNG key.
      x: `[rows, inputs]`.
      num_landmarks: m, from 1 to rows; memory for `[rows, m]` is needed.
      kernel: `(x, z) -> [rows of x, rows of z]`, positive semidefinite.

    Returns:
      `[num_landmarks, inputs]` in x's dtype; once nothing is left to explain, rows may come again.

    Raises:
      ValueError: more landmarks than rows, or none.

    Example:
      >>> x = jnp.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
      >>> found = pivoted_landmarks(jax.random.key(0), x, 2, kernel=lambda x, z: x @ z.T)
      >>> sorted(found.tolist())
      [[0.0, 1.0], [1.0, 0.0]]

    Source: Chen, Epperly, Tropp, Webber, "Randomly pivoted Cholesky", 2023, algorithm 2.1.
    """
    _check_count(x, num_landmarks)
    diagonal = jax.vmap(lambda row: kernel(row[None], row[None])[0, 0])(x)
    # What rounding leaves of an explained row is no reason to draw it.
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
    r"""The inverse square root of the landmarks' own kernel.

    .. math:: K_{mm}^{-1/2} = V \Lambda^{-1/2} V^\top, \qquad K_{mm} = V \Lambda V^\top

    Directions whose eigenvalue is at most `cutoff` times the largest are left out: there the kernel
    has only rounding errors, which the root would blow up.

    Args:
      landmarks: `[m, inputs]`; rows may be equal.
      kernel: `(x, z) -> [rows of x, rows of z]`, positive semidefinite.
      cutoff: in [0, 1); None is m times the spacing of floating-point numbers at 1.

    Returns:
      `[m, m]`, symmetric, in the kernel's dtype: the parameter of `nystroem_features`.

    Raises:
      ValueError: no landmarks, a kernel that does not give `[m, m]`, a cutoff out of its range.

    Example:
      >>> nystroem_root(2 * jnp.eye(2), kernel=lambda x, z: x @ z.T).tolist()
      [[0.5, 0.0], [0.0, 0.5]]

    Source: `sklearn.kernel_approximation.Nystroem`, which lifts small eigenvalues to 1e-12 instead
    of leaving them out.
    """
    if cutoff is not None and not 0 <= cutoff < 1:
        raise ValueError(f"cutoff: in [0, 1), not {cutoff}")
    gram = _values(kernel, landmarks, landmarks)
    if cutoff is None:
        cutoff = len(gram) * float(jnp.finfo(gram.dtype).eps)
    values, vectors = jnp.linalg.eigh(gram)
    kept = values > cutoff * values[-1]
    scales = jnp.where(kept, lax.rsqrt(jnp.where(kept, values, 1)), 0)
    return _product(vectors * scales[None], vectors.T)


def nystroem_features(
    x: Float[Array, "rows inputs"],
    landmarks: Float[Array, "landmarks inputs"],
    root: Float[Array, "landmarks landmarks"],
    *,
    kernel: Kernel,
) -> Float[Array, "rows landmarks"]:
    r"""Features whose products are the kernel as far as the landmarks span it.

    .. math:: \phi(x) = K_{mm}^{-1/2} k_m(x), \qquad
        \phi(x)^\top \phi(z) = k_m(x)^\top K_{mm}^{-1} k_m(z) \approx k(x, z)

    which is exact where x or z is a landmark, and everywhere once the landmarks are all rows.

    Args:
      x: `[rows, inputs]`.
      landmarks: `[m, inputs]`.
      root: `[m, m]`, of `nystroem_root` for the same landmarks and kernel.
      kernel: `(x, z) -> [rows of x, rows of z]`.

    Returns:
      `[rows, m]` in the kernel's dtype.

    Raises:
      ValueError: another number of inputs than the landmarks have, a root that is not `[m, m]`, a
        kernel that does not give `[rows, m]`.

    Example:
      >>> x = jnp.array([[3.0, 4.0]])
      >>> def linear(x, z):
      ...     return x @ z.T
      >>> root = nystroem_root(x, kernel=linear)
      >>> nystroem_features(x, x, root, kernel=linear).round(4).tolist()
      [[5.0]]

    Source: Williams and Seeger, 2001; `sklearn.kernel_approximation.Nystroem.transform`.
    """
    if x.ndim != 2 or x.shape[1:] != landmarks.shape[1:]:
        raise ValueError(f"x: [rows, inputs] for landmarks {landmarks.shape}, not {x.shape}")
    if root.shape != (len(landmarks), len(landmarks)):
        raise ValueError(f"root: [m, m] for landmarks {landmarks.shape}, not {root.shape}")
    return _product(_values(kernel, x, landmarks), root)


def _check_count(x: Array, num_landmarks: int) -> None:
    if x.ndim != 2:
        raise ValueError(f"x: [rows, inputs], not {x.shape}")
    if not 1 <= num_landmarks <= len(x):
        raise ValueError(f"num_landmarks: from 1 to the {len(x)} rows, not {num_landmarks}")


def _values(kernel: Kernel, x: Array, landmarks: Array) -> Array:
    """The kernel's values, once their shape is found right."""
    inputs.check_real("landmarks", landmarks)
    if landmarks.ndim != 2 or not len(landmarks):
        raise ValueError(f"landmarks: [m, inputs] with m of at least 1, not {landmarks.shape}")
    values = kernel(x, landmarks)
    if values.shape != (len(x), len(landmarks)):
        raise ValueError(
            f"kernel: [{len(x)}, {len(landmarks)}] for x {x.shape} and landmarks "
            f"{landmarks.shape}, not {values.shape}"
        )
    return values


def _product(x: Array, y: Array) -> Array:
    # The digits that an accelerator leaves out by default are those that the root blows up.
    return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)
