"""The same networks in plain Keras 3, on JAX."""

import importlib
import importlib.metadata
import os
from collections.abc import Callable, Sequence
from typing import Any

from jaxml.config import OptimConfig
from launch.benchmark.networks import NETWORKS, Network
from launch.benchmark.task import Operation, Prepared, Task, random_images


class KerasLayers:
    """The layers of Keras; their "same" padding differs from jaxml's, at the same cost."""

    def __init__(self, keras: Any, *, epsilon: float, weight_decay: float) -> None:
        self._layers = keras.layers
        self._epsilon = epsilon
        # Half, because the gradient of the squared norm has a factor of 2.
        self.penalty = keras.regularizers.L2(weight_decay / 2)

    def conv(self, x: Any, features: int, kernel_size: int = 3, strides: int = 1) -> Any:
        """Convolves without a bias."""
        return self._layers.Conv2D(
            features,
            kernel_size,
            strides,
            padding="same",
            use_bias=False,
            kernel_regularizer=self.penalty,
        )(x)

    def norm(self, x: Any) -> Any:
        """Applies batch normalization."""
        return self._layers.BatchNormalization(momentum=0.9, epsilon=self._epsilon)(x)

    def relu(self, x: Any) -> Any:
        """Applies a ReLU."""
        return self._layers.ReLU()(x)

    def add(self, new: Any, x: Any) -> Any:
        """Adds two arrays."""
        return self._layers.Add()([new, x])

    def concatenate(self, xs: Sequence[Any]) -> Any:
        """Concatenates along the channels."""
        return self._layers.Concatenate()(list(xs))

    def average_pool(self, x: Any, window: int, strides: int) -> Any:
        """Averages each window, excluding padding."""
        return self._layers.AveragePooling2D(window, strides, padding="same")(x)

    def max_pool(self, x: Any, window: int, strides: int) -> Any:
        """Takes the maximum of each window."""
        return self._layers.MaxPooling2D(window, strides, padding="same")(x)


def prepare(name: str, task: Task) -> Prepared:
    """Prepares a task."""
    del name
    os.environ["KERAS_BACKEND"] = "jax"
    keras = importlib.import_module("keras")
    jax = importlib.import_module("jax")
    if task.what == "compile":
        jax.config.update("jax_enable_compilation_cache", False)
    if task.precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    model = create_model(keras, NETWORKS[task.model], task)
    return Prepared(
        {task.what: Operation(_OPERATIONS[task.what](task, model))},
        jax.devices()[0].device_kind,
        {package: importlib.metadata.version(package) for package in ("keras", "jax")},
        sum(int(weight.value.size) for weight in model.trainable_weights),
    )


def create_model(keras: Any, network: Network, task: Task) -> Any:
    """Builds a network from uint8 images to logits, compiled for training."""
    config = OptimConfig()
    net = KerasLayers(keras, epsilon=network.epsilon, weight_decay=config.weight_decay)
    images = keras.Input(task.batch_shape[1:], dtype="uint8")
    x = network.body(net, keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.GlobalAveragePooling2D()(x)
    head = keras.layers.Dense(task.num_classes, kernel_regularizer=net.penalty, dtype="float32")
    model = keras.Model(images, head(x))
    model.compile(
        keras.optimizers.SGD(config.learning_rate, config.momentum, nesterov=config.nesterov),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=True,
    )
    return model


def _train_step(task: Task, model: Any) -> Callable[[], object]:
    """Prepares a training step; the first call compiles."""
    batch = random_images(task, task.batch_size)
    return lambda: model.train_on_batch(*batch)


def _inference(task: Task, model: Any) -> Callable[[], object]:
    images, _ = random_images(task, task.batch_size)
    return lambda: model.predict_on_batch(images)


def _epoch(task: Task, model: Any) -> Callable[[], object]:
    count = task.steps * task.batch_size
    images, labels = random_images(task, count)

    def fit(count: int) -> None:
        model.fit(images[:count], labels[:count], batch_size=task.batch_size, verbose=0)

    fit(task.batch_size)  # compiles
    return lambda: fit(count)


_OPERATIONS = {
    "train_step": _train_step,
    "inference": _inference,
    "compile": _train_step,
    "epoch": _epoch,
}
