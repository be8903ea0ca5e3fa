"""Linen modules that hold parameters and running statistics and call the functions of `layers`.

Parameters and statistics are float32 regardless of the `dtype` of the computation.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxml import activations, initializers, layers
from jaxml.layers import Padding
from jaxml.layers._padding import each_dimension
from jaxml.optim import is_frozen
from jaxml.types import Array, Initializer

ModuleDef = Callable[..., Any]


class Conv(nn.Module):
    """Two-dimensional convolution, `layers.conv` with parameters.

    Attributes:
      features: number of output channels.
      kernel_size: height and width of the kernel, or one number for both.
      strides: stride of both spatial dimensions.
      padding: as in `layers.conv`. None pads by half the kernel on each side, so that odd kernels
        of any size sample the same positions.
      use_bias: whether to add a bias.
      dtype: dtype of the computation.
      kernel_init: initializer of the kernel.
    """

    features: int
    kernel_size: int | tuple[int, int] = 3
    strides: int = 1
    padding: Padding | None = None
    use_bias: bool = False
    dtype: Any = jnp.float32
    kernel_init: Initializer = initializers.variance_scaling(2.0, "fan_in", "normal")

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps `[batch, height, width, in]` to `[batch, out height, out width, features]`."""
        window = each_dimension("kernel_size", self.kernel_size, 2)
        shape = (*window, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32).astype(self.dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", initializers.zeros, (self.features,), jnp.float32)
            bias = bias.astype(self.dtype)
        padding = self.padding
        if padding is None:
            padding = [(size // 2, size // 2) for size in window]
        return layers.conv(
            jnp.asarray(x, self.dtype), kernel, bias, strides=self.strides, padding=padding
        )


class BatchNorm(nn.Module):
    """Batch normalization with running statistics for evaluation.

    The collection "batch_moments", if mutable, receives the statistics of the current batch.

    Attributes:
      momentum: decay of the running averages, as in Flax and Keras.
      epsilon: added to the variance.
      use_scale: whether to multiply by a scale, which is redundant if ReLU and a linear layer
        follow.
      scale_init: initializer of the scale.
      frozen: pattern of `jaxml.optim.is_frozen`. Where it matches the path of this module, training
        uses the running statistics and leaves them unchanged.
      groups: number of equal groups of consecutive examples in a training batch. Each is normalized
        by its own statistics, as replicas that do not communicate do ("ghost batch normalization");
        the running statistics receive the mean over the groups.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    use_scale: bool = True
    scale_init: Initializer = initializers.ones
    frozen: str = ""
    groups: int = 1

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Normalizes `[..., channels]` by batch statistics in training, else by running ones."""
        shape = x.shape[-1:]
        scale = None
        if self.use_scale:
            scale = self.param("scale", self.scale_init, shape, jnp.float32)
        bias = self.param("bias", initializers.zeros, shape, jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        mean, var = running_mean.value, running_var.value
        parameter = "scale" if self.use_scale else "bias"
        frozen = is_frozen(self.frozen, "/".join((*self.path, parameter)))
        whole = x.shape
        if train and not frozen:
            x, mean, var = self._group_moments(x)
        if train and not self.is_initializing():
            for name, running, value in (("mean", running_mean, mean), ("var", running_var, var)):
                average = value.reshape(-1, *shape).mean(0) if self.groups > 1 else value
                sow_latest(self, "batch_moments", name, average)
                if not frozen:
                    running.value = layers.update_running_average(
                        running.value, average, momentum=self.momentum
                    )
        return layers.batch_normalization(x, mean, var, bias, scale, self.epsilon).reshape(whole)

    def _group_moments(self, x: Array) -> tuple[Array, Array, Array]:
        """Returns x with a leading dimension of groups, and the mean and variance of each group."""
        if self.groups == 1 or self.is_initializing():
            return x, *layers.moments(x, range(x.ndim - 1))
        if len(x) % self.groups:
            raise ValueError(
                f"`groups` must divide the batch of {len(x)} examples, got {self.groups}"
            )
        x = x.reshape(self.groups, -1, *x.shape[1:])
        return x, *layers.moments(x, range(1, x.ndim - 1), keepdims=True)


class Dense(nn.Module):
    """Fully connected layer, `layers.dense` with parameters.

    Attributes:
      features: size of the last dimension of the output.
      dtype: dtype of the computation.
      kernel_init: initializer of the kernel.
    """

    features: int
    dtype: Any = jnp.float32
    kernel_init: Initializer = initializers.variance_scaling(2.0, "fan_in", "normal")

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps `[..., in]` to `[..., features]`."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", initializers.zeros, (self.features,), jnp.float32)
        return layers.dense(
            jnp.asarray(x, self.dtype), kernel.astype(self.dtype), bias.astype(self.dtype)
        )


class ConvUnit(nn.Module):
    """Convolution, normalization and ReLU.

    Attributes:
      features: number of output channels.
      kernel_size: as in `Conv`.
      strides: as in `Conv`.
      padding: as in `Conv`.
      conv: constructor of the convolution.
      norm: constructor of the normalization. With None, the convolution has a bias instead.
    """

    features: int
    kernel_size: int | tuple[int, int] = 3
    strides: int = 1
    padding: Padding | None = None
    conv: ModuleDef = Conv
    norm: ModuleDef | None = BatchNorm

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps `[batch, height, width, in]` to `[batch, out height, out width, features]`."""
        options: dict[str, Any] = {} if self.padding is None else {"padding": self.padding}
        if self.norm is None:
            options["use_bias"] = True
        x = self.conv(
            self.features, self.kernel_size, strides=self.strides, name="conv", **options
        )(x)
        if self.norm is not None:
            x = self.norm(name="norm")(x, train=train)
        return activations.relu(x)


def dropout(module: nn.Module, x: Array, *, keep_prob: float, train: bool) -> Array:
    """Applies `layers.dropout` in training, with a key from the module's "dropout" stream."""
    if not train or keep_prob == 1 or module.is_initializing():
        return x
    return layers.dropout(module.make_rng("dropout"), x, keep_prob=keep_prob, train=train)


def sow_latest(module: nn.Module, collection: str, name: str, value: Any) -> None:
    """Stores a value in a collection if it is mutable, replacing the value of an earlier call."""
    module.sow(collection, name, value, lambda _, new: new, lambda: None)
