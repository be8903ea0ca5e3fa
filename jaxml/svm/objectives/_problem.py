"""The base class of the problems: a frozen pytree whose arguments are checked when it is made."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from flax import struct
from jax import lax

from jaxml.svm import _validation as validation
from jaxml.svm.objectives import box
from jaxml.types import Array, Bool, Float, Integer

Scalar = float | Float[Array, ""]
Labels = Integer[Array, " samples"] | Bool[Array, " samples"]
Equalities = tuple[Array, Array] | None

BIASES = ("free", "penalized", "none")


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    r"""A training problem: data and hyper-parameters of one formulation.

    Arrays and numbers are the leaves of the pytree; strings, booleans and class counts are static.
    Arguments are checked when a problem is constructed, not when JAX rebuilds it.

    Attributes:
      x: `[samples, features]`, the samples of a linear model: an array, or a sparse matrix of
        `jax.experimental.sparse` where only products are needed.
      gram: `[samples, samples]`, the kernel values K of a kernel model: an array, or an object
        with `shape`, `dtype` and `@` such as `KnownProducts`.
      sample_weight: `[samples]`, v, non-negative; None weights each sample by 1.
    """

    x: Any = None
    gram: Any = None
    sample_weight: Float[Array, " samples"] | None = None

    # Overridden by the fields of the formulations that have them.
    bias = "free"
    penalty = "l2"
    loss = ""
    epsilon = 0.0
    _static: ClassVar[tuple[str, ...]] = ()

    # The primal less the norm, a function of outputs in float32 at least and the offsets.
    cost: ClassVar[Callable[..., Array]]

    def __init_subclass__(cls) -> None:
        jax.tree_util.register_pytree_node_class(cls)

    def __post_init__(self) -> None:
        if self.x is not None and self.gram is not None:
            raise ValueError("`x` must be None where `gram` is given, got both")
        validation.check_scalar(
            "C", getattr(self, "C", 1.0), "a finite number > 0", lambda number: number > 0
        )
        validation.check_choice("bias", self.bias, BIASES)
        if (targets := getattr(self, "targets", None)) is not None:
            validation.check_array("targets", targets, ("samples",))
        if (class_weight := getattr(self, "class_weight", None)) is not None:
            num_classes = getattr(self, "num_classes", 2)
            validation.check_weights("class_weight", class_weight, num_classes)
        size = self.num_samples
        if size is None:
            return
        if self.x is not None:
            validation.check_array("x", self.x, (size, "features"))
        if self.gram is not None:
            validation.check_array("gram", self.gram, (size, size))
        if self.sample_weight is not None:
            validation.check_weights("sample_weight", self.sample_weight, size)

    def tree_flatten(self) -> tuple[list[Any], tuple[Any, ...]]:
        """Returns the leaves and the static fields."""
        leaves = [getattr(self, name) for name in self._leaves()]
        return leaves, tuple(getattr(self, name) for name in self._static)

    @classmethod
    def tree_unflatten(cls, static: tuple[Any, ...], leaves: Any) -> Self:
        """Rebuilds a problem without its checks: the leaves may be anything."""
        problem = object.__new__(cls)
        vars(problem).update(zip(cls._leaves(), leaves, strict=True))
        vars(problem).update(zip(cls._static, static, strict=True))
        return problem

    @classmethod
    def _leaves(cls) -> list[str]:
        return [f.name for f in dataclasses.fields(cls) if f.name not in cls._static]

    @property
    def num_samples(self) -> int | None:
        """The number of samples, or None where no array has been given."""
        for name in ("labels", "targets", "x", "gram", "sample_weight"):
            if (array := getattr(self, name, None)) is not None:
                return array.shape[0] if array.shape else None
        return None

    @property
    def shape(self) -> tuple[int | str, ...]:
        """The shape of the outputs and of the dual variables."""
        return (self.num_samples or "samples",)

    @property
    def is_squared(self) -> bool:
        """Returns whether the loss is squared, so that the dual has a quadratic for a bound."""
        return self.loss.startswith("squared")

    def costs(self, like: Array) -> Float[Array, " samples"]:
        """Returns C times the weights of each sample, for the samples and dtype of an array."""
        penalty = jnp.asarray(getattr(self, "C", 1.0)).astype(like.dtype)
        costs = jnp.broadcast_to(penalty, like.shape[:1])
        if self.sample_weight is not None:
            costs = costs * self.sample_weight.astype(like.dtype)
        class_weight, labels = getattr(self, "class_weight", None), getattr(self, "labels", None)
        if class_weight is not None and labels is not None:
            costs = costs * class_weight.astype(like.dtype)[labels.astype(jnp.int32)]
        return costs

    def coefficients(self, alpha: Array) -> Array:
        r"""Returns beta of :math:`w = \sum_i \beta_i \phi(x_i)`: alpha, up to signs."""
        return alpha

    def gain(self, alpha: Array) -> Array:
        """Returns the dual less its quadratic in the kernel."""
        return jnp.zeros((), alpha.dtype)

    def bounds(self, alpha: Array) -> tuple[Array, Array]:
        """Returns the bounds of the dual variables; those of a regression have either sign."""
        upper = self.reach(alpha)
        return -upper if hasattr(self, "targets") else jnp.zeros_like(alpha), upper

    def reach(self, alpha: Array) -> Float[Array, " samples"]:
        """Returns the costs; for a squared loss infinity, but 0 for samples without cost."""
        costs = self.costs(alpha)
        return jnp.where(costs > 0, jnp.inf, 0.0).astype(costs.dtype) if self.is_squared else costs

    def smoothing(self, alpha: Array) -> Array:
        r"""Returns the dual's quadratic for a squared loss, :math:`\sum_i \alpha_i^2 / 4 c_i`."""
        costs = 4 * self.costs(alpha).reshape(-1, *(1,) * (alpha.ndim - 1))
        counted = costs > 0  # the variables of samples without cost are 0
        return jnp.vdot(alpha, jnp.where(counted, alpha / jnp.where(counted, costs, 1.0), 0.0))

    def equalities(self, alpha: Array) -> Equalities:
        r"""Returns signs `[m, samples]` and totals `[m]`: :math:`\sum_i s_{ki} \alpha_i = t_k`."""
        if self.bias != "free":
            return None
        return self.coefficients(jnp.ones_like(alpha))[None], jnp.zeros(1, alpha.dtype)

    def excess(self, alpha: Array) -> Array:
        """Returns the violation of constraints other than the bounds and the equalities."""
        return jnp.zeros((), alpha.dtype)

    def best_offsets(self, outputs: Array) -> tuple[Array, ...]:
        """Returns the unpenalized offsets that minimize the cost, without gradients."""
        raise NotImplementedError

    def implied_offsets(self, beta: Array, outputs: Array) -> tuple[Array, ...]:
        """Returns the offsets that belong to the dual coefficients."""
        if self.bias == "free":
            return self.best_offsets(outputs)
        total = beta.sum(axis=0)
        return (total if self.bias == "penalized" else jnp.zeros_like(total),)

    def check_dual(self) -> None:
        """Raises ValueError where the loss has no dual here."""

    def check_separable(self, function: str) -> None:
        """Raises ValueError for constraints that `function` does not support."""

    def linear_samples(self, function: str) -> Array:
        """Returns `x`, which `function` needs."""
        if self.x is None:
            raise ValueError(f"`x` must be given for {function}, got None")
        return self.x

    def products(self, alpha: Array) -> Array:
        """Returns `K beta`; raises unless the data has the precision of `alpha`."""
        beta = self.coefficients(alpha)
        if (targets := getattr(self, "targets", None)) is not None:
            validation.check_precision(alpha=alpha, targets=targets)
        if self.gram is not None:
            validation.check_precision(alpha=alpha, gram=self.gram)
            return self.gram @ beta
        if self.x is None:
            raise ValueError("`x` or `gram` must be given, got None for both")
        validation.check_precision(alpha=alpha, x=self.x)
        return self.x @ (self.x.T @ beta)

    def penalized_products(self, alpha: Array) -> Array:
        """Returns `(K + 1) beta` where the intercept is penalized, else `K beta`."""
        products = self.products(alpha)
        if self.bias != "penalized":
            return products
        beta = self.coefficients(alpha)
        return products + beta.sum(axis=0, keepdims=beta.ndim > 1)

    def _best_intercept(self, outputs: Array, kinks: Array) -> Array:
        """Bisects the derivative of the cost, which is piecewise smooth between the kinks."""
        bare = dataclasses.replace(self, C=1.0, x=None, gram=None)
        bare, outputs, kinks = lax.stop_gradient((bare, outputs, kinks))
        slope = jax.grad(lambda b: bare.cost(outputs, b))
        return box.bisect(slope, kinks.min(), kinks.max())


@struct.dataclass
class KnownProducts:
    """A Gram matrix known by one product, `K beta`, for solvers that keep it up to date.

    The objectives, gap and residual then cost a few sums over the samples. The product is a
    constant, so gradients with respect to the dual variables are wrong.

    Example:
      >>> import jax.numpy as jnp
      >>> (KnownProducts(jnp.array([3.0, 1.0])) @ jnp.array([1.0, -1.0])).tolist()
      [3.0, 1.0]
    """

    products: Array

    @property
    def shape(self) -> tuple[int, int]:
        """`(samples, samples)`."""
        return len(self.products), len(self.products)

    @property
    def dtype(self) -> Any:
        """The dtype of the products."""
        return self.products.dtype

    def __matmul__(self, coefficients: Array) -> Array:
        """Returns the known product."""
        del coefficients
        return self.products


def shifted(outputs: Array, intercept: Any) -> Array:
    """Returns outputs with an intercept."""
    intercept = jnp.asarray(intercept).astype(outputs.dtype)
    return outputs + (jnp.broadcast_to(intercept, outputs.shape) if intercept.ndim else intercept)


def signs_of(labels: Array, dtype: Any) -> Array:
    """Returns -1 and 1 for labels 0 and 1 or booleans, NaN for other (traced) labels."""
    signs = 2 * labels.astype(dtype) - 1
    return jnp.where(jnp.abs(signs) == 1, signs, jnp.nan)
