"""Linen shells: they hold parameters and running statistics and call the functions of `layers`."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxml import activations, initializers, layers
from jaxml.layers.conv import Padding
from jaxml.layers.padding import each_dimension
from jaxml.optim.freezing import is_frozen
from jaxml.types import Array, Initializer

Module = Callable[..., Any]


class Conv(nn.Module):
    """`layers.conv` with its kernel (He normal) and, if asked for, its bias.

    Attributes:
      features: output channels.
      kernel_size: height and width of the kernel, or one number for both.
      strides: step in both spatial dimensions.
      padding: as in `layers.conv`; None means half of the kernel on every side, so that strides
        sample the same centres whatever the kernel's (odd) size.
      use_bias: whether a bias is added.
      dtype: of the computation; the parameters are float32.
      kernel_init: initializer of the kernel.
    """

    features: int
    kernel_size: int | tuple[int, int] = 3
    strides: int = 1
    padding: Padding | None = None
    use_bias: bool = False
    dtype: Any = jnp.float32
    kernel_init: Initializer = initializers.he_normal()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[batch, height, width, in]` to `[batch, out height, out width, features]`."""
        window = each_dimension("kernel_size", self.kernel_size, 2)
        shape = (*window, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32).astype(self.dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", initializers.zeros(), (self.features,), jnp.float32)
            bias = bias.astype(self.dtype)
        padding = self.padding
        if padding is None:
            padding = [(size // 2, size // 2) for size in window]
        return layers.conv(
            jnp.asarray(x, self.dtype), kernel, bias, strides=self.strides, padding=padding
        )


def sow(module: nn.Module, collection: str, name: str, value: Any) -> None:
    """Leaves a value for a caller who asks for the collection; a later call's replaces it."""
    module.sow(collection, name, value, lambda _, new: new, lambda: None)


def dropout(module: nn.Module, x: Array, *, keep_prob: float, train: bool) -> Array:
    """`layers.dropout` by a key of the module's stream "dropout", which is needed in training."""
    if not train or keep_prob == 1 or module.is_initializing():
        return x
    return layers.dropout(module.make_rng("dropout"), x, keep_prob=keep_prob, train=train)


class BatchNorm(nn.Module):
    """`layers.batch_normalization` with scale and bias, and running statistics for evaluation.

    Attributes:
      momentum: weight of the past in the running averages (Keras' meaning).
      epsilon: added to the variance.
      use_scale: whether there is a scale; none is needed where a ReLU and another layer follow.
      scale_init: initializer of the scale.
      frozen: pattern of `jaxml.optim.freezing`: where it matches the path of this module, training
        neither moves the running statistics nor normalises by the batch.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    use_scale: bool = True
    scale_init: Initializer = initializers.ones()
    frozen: str = ""

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """`[..., channels]`, by the batch's statistics in training, else by the running ones."""
        shape = x.shape[-1:]
        scale = None
        if self.use_scale:
            scale = self.param("scale", self.scale_init, shape, jnp.float32)
        bias = self.param("bias", initializers.zeros(), shape, jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        mean, var = running_mean.value, running_var.value
        own = "scale" if self.use_scale else "bias"
        frozen = is_frozen(self.frozen, "/".join((*self.path, own)))
        if train and not frozen:
            mean, var = layers.moments(x, range(x.ndim - 1))
        if train and not self.is_initializing():
            for name, value in (("mean", mean), ("var", var)):
                # Kept only for a caller who asks for this collection: to take the statistics anew.
                sow(self, "batch_moments", name, value)
            if not frozen:
                for running, value in ((running_mean, mean), (running_var, var)):
                    running.value = layers.update_running_average(
                        running.value, value, momentum=self.momentum
                    )
        return layers.batch_normalization(x, mean, var, bias, scale, self.epsilon)


class Dense(nn.Module):
    """`layers.dense` with its kernel and bias.

    Attributes:
      features: size of the last dimension of the result.
      dtype: of the computation; the parameters are float32.
      kernel_init: initializer of the kernel.
    """

    features: int
    dtype: Any = jnp.float32
    kernel_init: Initializer = initializers.he_normal()

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`[..., in]` to `[..., features]`."""
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", initializers.zeros(), (self.features,), jnp.float32)
        return layers.dense(
            jnp.asarray(x, self.dtype), kernel.astype(self.dtype), bias.astype(self.dtype)
        )


class ConvUnit(nn.Module):
    """A convolution, a normalisation and ReLU, which most networks repeat.

    Attributes:
      features: output channels.
      kernel_size: as of `Conv`.
      strides: as of `Conv`.
      padding: as of `Conv`.
      relu: whether ReLU comes last.
      conv: constructor of the convolution.
      norm: constructor of the normalisation; None for none, and the convolution has a bias.
    """

    features: int
    kernel_size: int | tuple[int, int] = 3
    strides: int = 1
    padding: Padding | None = None
    relu: bool = True
    conv: Module = Conv
    norm: Module | None = BatchNorm

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """`[batch, height, width, in]` to `[batch, out height, out width, features]`."""
        options: dict[str, Any] = {} if self.padding is None else {"padding": self.padding}
        if self.norm is None:
            options["use_bias"] = True
        x = self.conv(
            self.features, self.kernel_size, strides=self.strides, name="conv", **options
        )(x)
        if self.norm is not None:
            x = self.norm(name="norm")(x, train=train)
        return activations.relu(x) if self.relu else x
