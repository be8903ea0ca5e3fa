"""Reference implementations in float64 NumPy, written from the formulas, and comparisons."""

import functools
import itertools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import scipy.signal
import scipy.special

Pads = Sequence[tuple[int, int]]
Tree = Mapping[str, Any]

# Unit roundoff: the largest relative error of one rounding.
ROUNDING = {"float32": 2.0**-24, "bfloat16": 2.0**-8}

# Compiles in half the time; the arithmetic is the same up to the order of sums.
plain_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

# XLA's defaults, which the suite changes (see conftest.py), for tests of rounding errors.
_OPTIMIZED = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}
optimized_jit = functools.partial(
    jax.jit, compiler_options=None if os.environ.get("JAXML_TESTS_OPTIMIZED") else _OPTIMIZED
)


def assert_close(actual: Any, expected: Any, rtol: float = 1e-5, name: str = "") -> None:
    """Asserts that all entries are within `rtol` times the largest expected magnitude."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, name
    assert np.isfinite(expected).all(), name
    scale = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * scale, err_msg=name)


def assert_trees_close(actual: Any, expected: Any, rtol: float = 1e-5) -> None:
    """Applies `assert_close` to the leaves of two trees of the same structure."""
    actual = jax.tree_util.tree_leaves_with_path(actual)
    expected = jax.tree_util.tree_leaves_with_path(expected)
    assert [path for path, _ in actual] == [path for path, _ in expected]
    for (path, got), (_, wanted) in zip(actual, expected, strict=True):
        assert_close(got, wanted, rtol, jax.tree_util.keystr(path))


def assert_vmap_is_loop(function: Callable[..., Any], *arguments: Any, rtol: float = 1e-6) -> None:
    """Asserts that `vmap` over the first axis of all arguments equals a loop over the entries."""
    mapped = plain_jit(jax.vmap(function))(*arguments)
    function = plain_jit(function)
    calls = [function(*entries) for entries in zip(*arguments, strict=True)]
    looped = jax.tree.map(lambda *leaves: np.stack([np.asarray(x) for x in leaves]), *calls)
    assert_trees_close(mapped, looped, rtol)


def float64(tree: Any) -> Any:
    """Converts the leaves of a tree to float64 NumPy arrays."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def explicit_padding(
    image: Sequence[int], window: Sequence[int], strides: int | Sequence[int], padding: Any
) -> Pads:
    """Returns the padding of each axis for "SAME", "VALID", one number or explicit pairs."""
    if isinstance(padding, int):
        return [(padding, padding)] * len(image)
    if padding == "VALID":
        return [(0, 0)] * len(image)
    if padding == "SAME":
        pads = []
        steps = np.broadcast_to(strides, len(image)).tolist()
        for size, taps, step in zip(image, window, steps, strict=True):
            outputs = math.ceil(size / step)
            total = max((outputs - 1) * step + taps - size, 0)
            pads.append((math.floor(total / 2), math.ceil(total / 2)))
        return pads
    return padding


def conv(
    x: np.ndarray,
    kernel: np.ndarray,
    strides: int | Sequence[int],
    pads: Pads,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> np.ndarray:
    """Correlates each image with each filter by SciPy, then takes every `strides`-th pixel."""
    window, (n_in, n_out) = kernel.shape[:-2], kernel.shape[-2:]
    lead = x.shape[: x.ndim - 1 - len(window)]
    steps = np.broadcast_to(dilation, len(window)).tolist()
    spread = np.zeros((*(d * (t - 1) + 1 for t, d in zip(window, steps, strict=True)), n_in, n_out))
    spread[tuple(slice(None, None, d) for d in steps)] = kernel
    images = x.reshape(math.prod(lead), *x.shape[len(lead) :])
    padded = np.pad(images, [(0, 0), *pads, (0, 0)])
    shape = np.maximum(np.array(padded.shape[1:-1]) - spread.shape[:-2] + 1, 0).tolist()
    y = np.zeros((len(images), *shape, n_out))
    if 0 not in shape:
        for n, o in itertools.product(range(len(images)), range(n_out)):
            first = o // (n_out // groups) * n_in
            y[n, ..., o] = scipy.signal.correlate(
                padded[n, ..., first : first + n_in], spread[..., o], mode="valid", method="direct"
            )[..., 0]
    steps = np.broadcast_to(strides, len(window)).tolist()
    y = y[:, *(slice(None, None, s) for s in steps)]
    return y.reshape(*lead, *y.shape[1:])


def conv_gradients(
    x: np.ndarray, kernel: np.ndarray, cotangent: np.ndarray, strides: int, pads: Pads
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the gradients of `sum(cotangent * conv(x, kernel))`, summed tap by tap."""
    grad_x, grad_kernel = np.zeros(x.shape), np.zeros(kernel.shape)
    taps = [range(size) for size in (*cotangent.shape[1:3], *kernel.shape[:2])]
    for i, j, u, v in itertools.product(*taps):
        row, column = strides * i + u - pads[0][0], strides * j + v - pads[1][0]
        if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
            grad_x[:, row, column] += cotangent[:, i, j] @ kernel[u, v].T
            grad_kernel[u, v] += x[:, row, column].T @ cotangent[:, i, j]
    return grad_x, grad_kernel


def dense(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Returns `b_o + sum_i x_i k_io` for each leading index."""
    y = np.zeros((*x.shape[:-1], kernel.shape[1]))
    for index in np.ndindex(y.shape):
        *lead, o = index
        terms = [x[(*lead, i)] * kernel[i, o] for i in range(len(kernel))]
        y[index] = math.fsum([*terms, bias[o]])
    return y


def moments(x: np.ndarray, axes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and the biased variance, with correctly rounded sums."""
    axes = [axis % x.ndim for axis in axes]
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    groups = x.transpose(*kept, *axes).reshape(*(x.shape[axis] for axis in kept), -1)
    mean, variance = np.zeros(groups.shape[:-1]), np.zeros(groups.shape[:-1])
    for index in np.ndindex(mean.shape):
        values = groups[index].tolist()
        mean[index] = math.fsum(values) / len(values)
        variance[index] = math.fsum((v - mean[index]) ** 2 for v in values) / len(values)
    return mean, variance


def batch_normalization(
    x: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    offset: np.ndarray,
    scale: np.ndarray,
    epsilon: float,
) -> np.ndarray:
    """Returns `gamma (x - mu) / sqrt(sigma^2 + epsilon) + beta` channel by channel."""
    y = np.zeros(x.shape)
    for c in range(x.shape[-1]):
        y[..., c] = scale[c] * (x[..., c] - mean[c]) / math.sqrt(variance[c] + epsilon) + offset[c]
    return y


def batch_norm_gradients(
    x: np.ndarray, scale: np.ndarray, cotangent: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the gradients for x, offset and scale in training mode (Ioffe and Szegedy)."""
    axes = range(x.ndim - 1)
    mean, variance = moments(x, axes)
    grad_x, grad_offset, grad_scale = np.zeros(x.shape), np.zeros(mean.shape), np.zeros(mean.shape)
    for c in range(x.shape[-1]):
        sigma = math.sqrt(variance[c] + epsilon)
        y, g = (x[..., c] - mean[c]) / sigma, cotangent[..., c]
        grad_offset[c], grad_scale[c] = g.sum(), (g * y).sum()
        grad_x[..., c] = scale[c] / sigma * (g - g.mean() - y * (g * y).mean())
    return grad_x, grad_offset, grad_scale


def global_average_pool(x: np.ndarray) -> np.ndarray:
    """Returns the mean of each channel of each image."""
    *lead, height, width, channels = x.shape
    y = np.zeros((*lead, channels))
    for index in np.ndindex(y.shape):
        pixels = x[(*index[:-1], slice(None), slice(None), index[-1])]
        y[index] = math.fsum(pixels.ravel().tolist()) / (height * width)
    return y


def zero_pad_shortcut(x: np.ndarray, strides: int, features: int) -> np.ndarray:
    """Returns the subsampled image with zero channels added, copied pixel by pixel."""
    *lead, height, width, channels = x.shape
    first = (features - channels) // 2
    y = np.zeros((*lead, math.ceil(height / strides), math.ceil(width / strides), features))
    for i, j, c in itertools.product(*(range(size) for size in (*y.shape[-3:-1], channels))):
        y[..., i, j, first + c] = x[..., i * strides, j * strides, c]
    return y


def per_image_standardization(images: np.ndarray) -> np.ndarray:
    """Returns `(x - mu) / max(sigma, 1 / sqrt(N))` image by image."""
    y = np.zeros(images.shape)
    for index in np.ndindex(images.shape[:-3]):
        values = images[index].ravel().tolist()
        mean = math.fsum(values) / len(values)
        sigma = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))
        y[index] = (images[index] - mean) / max(sigma, 1 / math.sqrt(len(values)))
    return y


def softmax_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns minus SciPy's log-softmax at each label."""
    losses = np.zeros(labels.shape)
    for index in np.ndindex(labels.shape):
        losses[index] = -scipy.special.log_softmax(logits[index])[labels[index]]
    return losses


def heavy_ball(
    params: dict[str, np.ndarray],
    gradients: Sequence[dict[str, np.ndarray]],
    rates: Sequence[float],
    *,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
) -> list[dict[str, np.ndarray]]:
    """Returns the parameters after each step; only names ending in "kernel" decay."""
    velocity: dict[str, Any] = dict.fromkeys(params, 0.0)
    history = []
    for gradient, rate in zip(gradients, rates, strict=True):
        params = dict(params)
        for name, value in params.items():
            g = gradient[name] + (weight_decay * value if name.endswith("kernel") else 0.0)
            velocity[name] = momentum * velocity[name] + g
            step = g + momentum * velocity[name] if nesterov else velocity[name]
            params[name] = value - rate * step
        history.append(params)
    return history


class Network:
    """The forward pass of a CIFAR ResNet, layer by layer.

    Attributes:
      statistics: running statistics after the pass; unchanged in evaluation mode.
    """

    def __init__(self, params: Tree, statistics: Tree, *, train: bool) -> None:
        self.params, self.train = params, train
        self.statistics = jax.tree.map(np.copy, statistics)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns the logits of images `[batch, height, width, channels]`."""
        x = self._conv(images, self.params["stem_conv"], 1)
        x = np.maximum(self._norm(x, ["stem_norm"]), 0)
        for stage in sorted(name for name in self.params if name.startswith("stage")):
            for block in sorted(self.params[stage]):
                strides = 2 if block == "block1" and stage != "stage1" else 1
                x = self._block(x, stage, block, strides)
        head = self.params["head"]
        return dense(global_average_pool(x), head["kernel"], head["bias"])

    def _block(self, x: np.ndarray, stage: str, name: str, strides: int) -> np.ndarray:
        block = self.params[stage][name]
        y = self._conv(x, block["conv1"], strides)
        y = np.maximum(self._norm(y, [stage, name, "norm1"]), 0)
        y = self._norm(self._conv(y, block["conv2"], 1), [stage, name, "norm2"])
        if "shortcut" in block:
            x = self._conv(x, block["shortcut"]["conv"], strides)
            if "norm" in block["shortcut"]:
                x = self._norm(x, [stage, name, "shortcut", "norm"])
        elif x.shape != y.shape:
            x = zero_pad_shortcut(x, strides, y.shape[-1])
        return np.maximum(x + y, 0)

    def _conv(self, x: np.ndarray, params: Tree, strides: int) -> np.ndarray:
        kernel = params["kernel"]
        return conv(x, kernel, strides, [(size // 2, size // 2) for size in kernel.shape[:2]])

    def _norm(self, x: np.ndarray, path: Sequence[str]) -> np.ndarray:
        params, statistics = self.params, self.statistics
        for name in path:
            params, statistics = params[name], statistics[name]
        mean, variance = statistics["mean"], statistics["var"]
        if self.train:
            mean, variance = moments(x, range(x.ndim - 1))
            statistics["mean"] = 0.9 * statistics["mean"] + 0.1 * mean
            statistics["var"] = 0.9 * statistics["var"] + 0.1 * variance
        return batch_normalization(x, mean, variance, params["bias"], params["scale"], 1e-5)
