"""Convolutions with their gradients, and their values in float64."""

from functools import partial

import jax
import numpy as np

from jaxml.layers import conv
from tests import references


def example(shape, window, out=4, dtype=np.float32):
    """Draws images and a kernel."""
    rng = np.random.default_rng(0)
    shapes = [shape, (*window, shape[-1], out)]
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


def with_gradients(**settings):
    """Returns a new function each time, for compiled programs are kept by function."""

    def call(x, kernel, cotangent):
        y, vjp = jax.vjp(partial(conv, **settings), x, kernel)
        return y, *vjp(cotangent)

    return call


def example_with_gradients(shape, window, strides, padding):
    """Returns the images, the kernel, a cotangent, and the result with both gradients."""
    x, kernel = example(shape, window)
    pads = references.explicit_padding(shape[1:3], window, strides, padding)
    y = references.conv(*references.float64([x, kernel]), strides=strides, pads=pads)
    cotangent = np.random.default_rng(1).normal(size=y.shape).astype(np.float32)
    wide = references.float64([x, kernel, cotangent])
    return x, kernel, cotangent, (y, *references.conv_gradients(*wide, strides=strides, pads=pads))
