"""The convolutions of torch and Keras for arrays in the layout of jaxml."""

import os
import tempfile
from typing import Any

import numpy as np
import pytest


def torch_conv(
    name: str,
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    strides: Any = 1,
    **settings: Any,
) -> np.ndarray:
    """`conv` or `conv_transpose` of torch, in as many dimensions as the kernel."""
    torch = pytest.importorskip("torch")
    dims = kernel.ndim - 2
    function = getattr(torch.nn.functional, f"{name}{dims}d")
    images = torch.from_numpy(np.moveaxis(x, -1, 1).copy())
    kernels = torch.from_numpy(kernel.transpose(dims + 1, dims, *range(dims)).copy())
    biases = None if bias is None else torch.from_numpy(bias)
    return np.moveaxis(function(images, kernels, biases, stride=strides, **settings).numpy(), 1, -1)


def keras_conv(
    name: str, *arrays: np.ndarray, padding: str, dilation: Any = 1, **settings: Any
) -> np.ndarray:
    """`keras.ops.conv` and its kin, computed by torch."""
    pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("KERAS_HOME", tempfile.mkdtemp(prefix="keras-"))
    keras = pytest.importorskip("keras")
    function = getattr(keras.ops, name)
    y = function(*arrays, padding=padding.lower(), dilation_rate=dilation, **settings)
    return y.numpy()
