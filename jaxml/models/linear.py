"""Linear models and the small multilayer perceptron.

A linear model with the squared error is linear regression, with the sigmoid cross-entropy logistic
regression, with the softmax cross-entropy softmax regression, with a hinge a linear SVM.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn

from jaxml import initializers, layers
from jaxml.activations import ACTIVATIONS
from jaxml.models.blocks import Dense
from jaxml.types import Array


class Linear(nn.Module):
    """All features of an example to the outputs: `W x + b`.

    Attributes:
      num_classes: outputs; 0 for the features before the head.
      dtype: of the computation; parameters and outputs are float32.
      image_size: height and width that the tables of networks assume.
      num_published_classes: outputs that they assume.

    Example:
      >>> import jax
      >>> model = Linear(num_classes=3)
      >>> variables = model.init(jax.random.key(0), jnp.zeros((2, 8, 8, 1)), train=False)
      >>> variables["params"]["head"]["kernel"].shape
      (64, 3)
    """

    image_size: ClassVar[int] = 32
    num_published_classes: ClassVar[int] = 10

    num_classes: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """`[batch, ...]` to `[batch, num_classes]`."""
        del train
        if not self.num_classes:
            return layers.flatten(x).astype(jnp.float32)
        # The problem is convex: the start makes no difference, and zeros are the shortest way.
        head = Dense(
            self.num_classes, dtype=self.dtype, kernel_init=initializers.zeros, name="head"
        )
        return head(layers.flatten(x)).astype(jnp.float32)


class Mlp(nn.Module):
    """Dense layers with an activation after each but the last.

    Attributes:
      num_classes: outputs; 0 for the features before the head.
      hidden_features: units of each hidden layer.
      activation: a name in `ACTIVATIONS`.
      dtype: of the computation; parameters and outputs are float32.
      image_size: height and width that the tables of networks assume.
      num_published_classes: outputs that they assume.

    Example:
      >>> import jax
      >>> model = Mlp(num_classes=3, hidden_features=(5,))
      >>> variables = model.init(jax.random.key(0), jnp.zeros((2, 4)), train=False)
      >>> jax.tree.map(jnp.shape, variables["params"]["hidden1"])
      {'bias': (5,), 'kernel': (4, 5)}
    """

    image_size: ClassVar[int] = 32
    num_published_classes: ClassVar[int] = 10

    num_classes: int
    hidden_features: Sequence[int] = (128, 128)
    activation: str = "relu"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """`[batch, ...]` to `[batch, num_classes]`."""
        del train
        x = layers.flatten(x)
        for number, features in enumerate(self.hidden_features, start=1):
            x = Dense(features, dtype=self.dtype, name=f"hidden{number}")(x)
            x = ACTIVATIONS[self.activation](x)
        if self.num_classes:
            x = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
        return x.astype(jnp.float32)
