"""Linear models and the multilayer perceptron.

A linear model is a linear regression with the squared error, a logistic regression with the
sigmoid cross-entropy, a softmax regression with the softmax cross-entropy, and a linear SVM with a
hinge loss.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn

from jaxml import initializers, layers
from jaxml.activations import ACTIVATIONS
from jaxml.models._blocks import Dense
from jaxml.types import Array


class VectorNetwork(nn.Module):
    """Base class of networks that flatten their input.

    Attributes:
      num_classes: number of outputs; 0 returns the features instead of logits.
      image_size: height and width of the images in tables of networks.
      num_published_channels: number of channels of the images in tables of networks.
      num_published_classes: number of classes in tables of networks.
    """

    image_size: ClassVar[int] = 32
    num_published_channels: ClassVar[int] = 3
    num_published_classes: ClassVar[int] = 10

    num_classes: int


class Linear(VectorNetwork):
    """Linear model, `W x + b`.

    Attributes:
      dtype: dtype of the computation; parameters and outputs are float32.

    Example:
      >>> import jax
      >>> model = Linear(num_classes=3)
      >>> variables = model.init(jax.random.key(0), jnp.zeros((2, 8, 8, 1)), train=False)
      >>> variables["params"]["head"]["kernel"].shape
      (64, 3)
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps `[batch, ...]` to `[batch, num_classes]`."""
        del train
        x = layers.flatten(x)
        if self.num_classes:
            # The problem is convex, so the result does not depend on the initial values.
            zeros = initializers.zeros
            x = Dense(self.num_classes, dtype=self.dtype, kernel_init=zeros, name="head")(x)
        return x.astype(jnp.float32)


class Mlp(VectorNetwork):
    """Multilayer perceptron.

    Attributes:
      hidden_features: width of each hidden layer.
      activation: a name in `ACTIVATIONS`, applied after each hidden layer.
      dtype: dtype of the computation; parameters and outputs are float32.

    Example:
      >>> import jax
      >>> model = Mlp(num_classes=3, hidden_features=(5,))
      >>> variables = model.init(jax.random.key(0), jnp.zeros((2, 4)), train=False)
      >>> jax.tree.map(jnp.shape, variables["params"]["hidden1"])
      {'bias': (5,), 'kernel': (4, 5)}
    """

    hidden_features: Sequence[int] = (128, 128)
    activation: str = "relu"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """Maps `[batch, ...]` to `[batch, num_classes]`."""
        del train
        x = layers.flatten(x)
        for number, features in enumerate(self.hidden_features, start=1):
            x = Dense(features, dtype=self.dtype, name=f"hidden{number}")(x)
            x = ACTIVATIONS[self.activation](x)
        if self.num_classes:
            x = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
        return x.astype(jnp.float32)
