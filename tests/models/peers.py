"""Networks of torchvision, timm and Keras, with random weights: what ours have to agree with.

Images and logits are NumPy arrays, images `[batch, height, width, channels]`. A peer is a torch or
a Keras module; tensors and gradients go by the names that its library saves them under.

The running statistics of a peer are near those of random images, as of a trained network: far from
them the signal of a deep network vanishes or explodes, and a difference in it shows nothing.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")

# What torchvision registers fakes for when it is imported, though no network here calls it.
_COMPILED = (
    *("nms", "qnms", "roi_align", "_roi_align_backward", "roi_pool", "_roi_pool_backward"),
    *("ps_roi_align", "_ps_roi_align_backward", "ps_roi_pool", "_ps_roi_pool_backward"),
    "qroi_align",
)


def torch_peer(library: str, name: str, *, size: int = 64, seed: int = 0, **options: Any) -> Any:
    """A network of torchvision or timm, such as `torch_peer("timm", "resnet50d", num_classes=10)`.

    Args:
      library: "torchvision" or "timm".
      name: of the network.
      size: height and width of the images that the running statistics are of.
      seed: of all values.
      **options: of the network.
    """
    if library == "timm":
        network = timm().create_model(name, **options)
    else:
        network = getattr(torchvision().models, name)(weights=None, **options)
    return randomized(network, size=size, seed=seed)


def keras_peer(name: str, *, size: int = 64, seed: int = 0, **options: Any) -> Any:
    """A network of keras.applications with logits, such as `keras_peer("ResNet50V2", classes=10)`.

    Args:
      name: of the constructor.
      size: height and width of the images, which such a network is bound to.
      seed: of all values.
      **options: of the constructor.
    """
    constructor = getattr(keras().applications, name)
    network = constructor(
        weights=None, classifier_activation=None, input_shape=(size, size, 3), **options
    )
    return randomized(network, size=size, seed=seed)


def randomized(network: Any, *, size: int, channels: int = 3, seed: int = 0) -> Any:
    """The same torch or Keras module, with random weights and statistics, and without dropout."""
    rng = np.random.default_rng(seed)
    layers = list(network.modules() if _is_torch(network) else network._flatten_layers())
    for layer in layers:
        for rate in ("p", "rate"):
            if "Dropout" in type(layer).__name__ and hasattr(layer, rate):
                setattr(layer, rate, 0.0)
    _assign(network, {name: _draw(rng, name, old) for name, old in tensors(network).items()})
    batch = rng.normal(size=(8, size, size, channels)).astype(np.float32)
    with _last_batch_only(layers):
        _forward(network, batch, train=True)
    _assign(network, {name: _blur(rng, name, old) for name, old in tensors(network).items()})
    return network


def tensors(peer: Any) -> dict[str, np.ndarray]:
    """All weights and statistics: torch's `state_dict`, or Keras' by `layer/weight`."""
    if _is_torch(peer):
        return {name: value.numpy().copy() for name, value in peer.state_dict().items()}
    return {name: _numpy(variable) for name, variable in _variables(peer)}


def logits(peer: Any, images: np.ndarray, *, train: bool = False) -> np.ndarray:
    """Of each image, normalised by running statistics or, in training, by those of the images."""
    return _numpy(_kept(peer, lambda: _forward(peer, images, train=train)[0]))


def auxiliary_logits(peer: Any, images: np.ndarray) -> list[np.ndarray]:
    """Those of the auxiliary heads in training, from the first head to the last."""
    return [_numpy(x) for x in _kept(peer, lambda: _forward(peer, images, train=True)[1])]


def gradients(
    peer: Any, images: np.ndarray, labels: np.ndarray, *, auxiliary_weight: float = 0.0
) -> dict[str, np.ndarray]:
    """Of the mean cross-entropy in training, plus that of each auxiliary head times a weight."""
    torch = pytest.importorskip("torch")
    parameters = dict(peer.named_parameters()) if _is_torch(peer) else dict(_trainable(peer))

    def gradients_of_loss() -> dict[str, np.ndarray]:
        wanted = torch.from_numpy(np.asarray(labels, np.int64))
        main, auxiliary = _forward(peer, images, train=True, grad=True)
        loss = torch.nn.functional.cross_entropy(main, wanted)
        for head in auxiliary:
            loss = loss + auxiliary_weight * torch.nn.functional.cross_entropy(head, wanted)
        values = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        return {
            name: np.zeros(parameter.shape) if value is None else value.numpy()
            for (name, parameter), value in zip(parameters.items(), values, strict=True)
        }

    return _kept(peer, gradients_of_loss)


def cifar_v1(depth: int, *, size: int = 32, classes: int = 10, seed: int = 0) -> Any:
    """ResNet v1 of Keras' example cifar10_resnet, before its softmax; depth is 6n + 2."""
    layers = keras().layers
    inputs = x = keras().Input((size, size, 3))
    x = layers.ReLU()(_norm(_conv(x, 16)))
    for features in (16, 32, 64):
        for block in range((depth - 2) // 6):
            changes = features > 16 and block == 0
            strides = 2 if changes else 1
            y = layers.ReLU()(_norm(_conv(x, features, strides=strides)))
            y = _norm(_conv(y, features))
            if changes:
                x = _conv(x, features, 1, strides=strides)
            x = layers.ReLU()(layers.Add()([x, y]))
    return _cifar_head(inputs, x, size=size, classes=classes, seed=seed)


def cifar_v2(depth: int, *, size: int = 32, classes: int = 10, seed: int = 0) -> Any:
    """ResNet v2 of Keras' example cifar10_resnet, before its softmax; depth is 9n + 2."""
    layers = keras().layers
    inputs = x = keras().Input((size, size, 3))
    x = layers.ReLU()(_norm(_conv(x, 16)))
    for stage, (narrow, wide) in enumerate([(16, 64), (64, 128), (128, 256)]):
        for block in range((depth - 2) // 9):
            strides = 2 if stage > 0 and block == 0 else 1
            y = x if stage == block == 0 else layers.ReLU()(_norm(x))
            y = _conv(y, narrow, 1, strides=strides)
            y = _conv(layers.ReLU()(_norm(y)), narrow)
            y = _conv(layers.ReLU()(_norm(y)), wide, 1)
            if block == 0:
                x = _conv(x, wide, 1, strides=strides)
            x = layers.Add()([x, y])
    x = layers.ReLU()(_norm(x))
    return _cifar_head(inputs, x, size=size, classes=classes, seed=seed)


def torchvision() -> Any:
    """The library; its compiled operations need not load, and are only named in their place."""
    torch = pytest.importorskip("torch")
    if not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        _libraries.append(library)
        for name in _COMPILED:
            library.define(f"{name}(Tensor x) -> Tensor")
    return _import("torchvision")


def timm() -> Any:
    """The library, which itself imports torchvision."""
    torchvision()
    return _import("timm")


def keras() -> Any:
    """The library, on torch."""
    pytest.importorskip("torch")
    library = _import("keras")
    if library.backend.backend() != "torch":
        pytest.fail(f"KERAS_BACKEND: torch, not {library.backend.backend()}")
    return library


_libraries: list[Any] = []  # definitions last as long as their library does


def _import(name: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own imports
        return pytest.importorskip(name)


def _conv(x: Any, features: int, kernel_size: int = 3, *, strides: int = 1) -> Any:
    layer = keras().layers.Conv2D(features, kernel_size, strides=strides, padding="same")
    return layer(x)


def _norm(x: Any) -> Any:
    return keras().layers.BatchNormalization()(x)


def _cifar_head(inputs: Any, x: Any, *, size: int, classes: int, seed: int) -> Any:
    layers = keras().layers
    x = layers.Flatten()(layers.AveragePooling2D(size // 4)(x))
    network = keras().Model(inputs, layers.Dense(classes)(x))
    return randomized(network, size=size, seed=seed)


def _is_torch(peer: Any) -> bool:
    return not hasattr(peer, "_flatten_layers")  # on torch, Keras' modules are torch's as well


def _variables(peer: Any) -> Iterator[tuple[str, Any]]:
    for layer in peer.layers:
        for variable in layer.weights:
            yield f"{layer.name}/{variable.name}", variable


def _trainable(peer: Any) -> Iterator[tuple[str, Any]]:
    return ((name, variable.value) for name, variable in _variables(peer) if variable.trainable)


def _numpy(value: Any) -> np.ndarray:
    value = getattr(value, "value", value)
    return value.detach().numpy().copy()


def _assign(peer: Any, values: dict[str, np.ndarray]) -> None:
    if _is_torch(peer):
        torch = pytest.importorskip("torch")
        peer.load_state_dict({name: torch.from_numpy(value) for name, value in values.items()})
    else:
        for name, variable in _variables(peer):
            variable.assign(values[name])


def _forward(peer: Any, images: np.ndarray, *, train: bool, grad: bool = False) -> Any:
    """The logits and a list of those of auxiliary heads."""
    torch = pytest.importorskip("torch")
    with torch.set_grad_enabled(grad):
        if not _is_torch(peer):
            return peer(torch.from_numpy(images), training=train), []
        dtype = next(peer.parameters()).dtype
        inputs = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        results = peer.train(train)(inputs.to(dtype))
    if not isinstance(results, tuple):
        return results, []
    # torchvision's GoogLeNet returns its heads from the last to the first.
    return results[0], [head for head in results[:0:-1] if head is not None]


def _kept(peer: Any, call: Callable[[], Any]) -> Any:
    """What `call` returns; the statistics stay as they were."""
    before = tensors(peer)
    try:
        return call()
    finally:
        _assign(peer, before)


@contextmanager
def _last_batch_only(layers: list[Any]) -> Iterator[None]:
    """Running statistics become those of a batch at once."""
    norms = [layer for layer in layers if "BatchNorm" in type(layer).__name__]
    momentums = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0 if hasattr(layer, "moving_mean") else 1.0  # the weight of the past
    yield
    for layer, momentum in zip(norms, momentums, strict=True):
        layer.momentum = momentum


def _draw(rng: np.random.Generator, name: str, old: np.ndarray) -> np.ndarray:
    """A kernel that keeps the variance, a scale or another value.

    Offsets are mostly positive. Were they around zero, half of a ReLU's inputs would be negative;
    such a network, if deep and random, is chaotic: it makes the last bit of float32 a large error.
    """
    if old.ndim > 1:
        # All dimensions but that of the outputs: Keras' last, torch's first.
        inputs = old.size // old.shape[-1 if "/" in name else 0]
        new = rng.normal(scale=np.sqrt(2 / inputs), size=old.shape)
    elif name.endswith(("gamma", "weight")):
        new = rng.uniform(0.3, 0.8, size=old.shape)
    elif name.endswith(("beta", "bias")):
        new = rng.normal(0.5, 0.3, size=old.shape)
    else:
        return old
    return new.astype(old.dtype)


def _blur(rng: np.random.Generator, name: str, old: np.ndarray) -> np.ndarray:
    """Another value for a statistic, near the old one."""
    if not name.endswith(("mean", "var", "variance")):
        return old
    return (old * rng.uniform(0.7, 1.4, size=old.shape)).astype(old.dtype)
