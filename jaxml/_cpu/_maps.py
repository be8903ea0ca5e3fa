"""The three maps of a convolution, each by XLA and by oneDNN with equal values.

Convolution is linear in the images and in the kernel. Together with its gradients with respect to
each, it is one of three bilinear maps, any two of which are the derivatives of the third, so
derivatives of any order are combinations of the three.

On 2 cores with AVX-512, 3x3 convolutions of 128 images of 32x32x16, 16x16x32 and 8x8x64 by oneDNN
run at 280, 300 and 230 GFLOP/s, compared with 130, 220 and 170 by XLA. Kernel gradients run at 90,
115 and 150 GFLOP/s compared with 45, 75 and 120, or less within a network, where XLA recomputes the
images while it transposes them. A training step of ResNet-20 takes two thirds of the time.
"""

import operator
from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp
from jax import lax

from jaxml._cpu import _onednn
from jaxml._cpu._geometry import Geometry, Tiles
from jaxml.types import Array

# Approximate size of the block of images whose kernel gradient is computed together; fits a cache.
BLOCK_BYTES = 2**20
# Kernel gradients sum over the images of a block in place of channels, and have the channels of an
# image in place of pixels; oneDNN is slow with few of either.
LEAST_BLOCK = 8
LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv(x: Array, kernel: Array, *, geometry: Geometry) -> Array:
    """Convolves by XLA."""
    return lax.conv_general_dilated(
        x, kernel, geometry.strides, geometry.pads, dimension_numbers=LAYOUT
    )


def conv_by_onednn(x: Array, kernel: Array, *, geometry: Geometry) -> Array:
    """Convolves by oneDNN."""
    return _onednn.convolve(x, kernel, strides=geometry.strides, pads=geometry.pads)


def image_gradient(gradient: Array, kernel: Array, *, geometry: Geometry) -> Array:
    """Computes the gradient of the images from the gradient of the result, by XLA."""
    return lax.conv_general_dilated(
        gradient,
        kernel[::-1, ::-1].swapaxes(2, 3),
        (1, 1),
        geometry.gradient_pads,
        lhs_dilation=geometry.strides,
        dimension_numbers=LAYOUT,
    )


def image_gradient_by_onednn(gradient: Array, kernel: Array, *, geometry: Geometry) -> Array:
    """Computes tiles of the images by a convolution, with the pixels of a tile as channels.

    XLA's convolution of a gradient with zeros between its pixels can take hundreds of times as
    long, such as for 32 images of 4x4x1024.
    """
    strides = geometry.strides
    if any(map(operator.lt, geometry.window, strides)):  # most taps would be zeros
        return image_gradient(gradient, kernel, geometry=geometry)
    rows, columns = map(Tiles.of, *geometry)
    channels, out = kernel.shape[2:]
    kernel = jnp.pad(kernel, [rows.zeros, columns.zeros, (0, 0), (0, 0)])
    kernel = kernel.reshape(rows.reach, strides[0], columns.reach, strides[1], channels, out)
    kernel = kernel[::-1, :, ::-1].transpose(0, 2, 5, 1, 3, 4)
    gradient, pads = _cropped(
        gradient,
        [
            (tiles.reach - 1 - tiles.last, tiles.number + tiles.last - results)
            for tiles, results in zip((rows, columns), gradient.shape[1:3], strict=True)
        ],
    )
    kernel = kernel.reshape(rows.reach, columns.reach, out, -1)
    x = _onednn.convolve(gradient, kernel, strides=(1, 1), pads=pads)
    x = x.reshape(-1, rows.number, columns.number, *strides, channels).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(-1, rows.number * strides[0], columns.number * strides[1], channels)
    return x[:, : geometry.image[0], : geometry.image[1]]


def kernel_gradient(x: Array, gradient: Array, *, geometry: Geometry) -> Array:
    """Computes the gradient of the kernel from the gradient of the result, by XLA."""
    if not gradient.size:  # XLA rejects windows of size 0
        return jnp.zeros((*geometry.window, x.shape[-1], gradient.shape[-1]), x.dtype)
    kernel = lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        gradient.transpose(1, 2, 0, 3),
        (1, 1),
        geometry.used_pads,
        rhs_dilation=geometry.strides,
        dimension_numbers=LAYOUT,
    )
    return kernel.transpose(1, 2, 0, 3)


def kernel_gradient_by_onednn(x: Array, gradient: Array, *, geometry: Geometry) -> Array:
    """Sums over blocks of images, each transposed while it is in the cache.

    The loop prevents XLA from recomputing `x` and `gradient` as a part of the transposition.
    """
    batch, *size = x.shape
    if geometry == Geometry(geometry.image, (1, 1), (1, 1), ((0, 0), (0, 0))):
        return lax.dot_general(x, gradient, (((0, 1, 2), (0, 1, 2)), ((), ())))[None, None]
    if min(batch, x.shape[3]) < LEAST_BLOCK:
        return kernel_gradient(x, gradient, geometry=geometry)
    bytes_of_image = x.dtype.itemsize * size[0] * size[1] * size[2]
    block = min(batch, max(LEAST_BLOCK, BLOCK_BYTES // bytes_of_image))
    of_block = partial(_kernel_gradient_of_block, geometry=geometry)

    def add(index: Array, total: Array) -> Array:
        cut = partial(lax.dynamic_slice_in_dim, start_index=index * block, slice_size=block)
        return total + of_block(cut(x), cut(gradient))

    zeros = jnp.zeros((*geometry.window, x.shape[-1], gradient.shape[-1]), x.dtype)
    total = lax.fori_loop(0, batch // block, add, zeros)
    rest = batch % block
    return total + of_block(x[-rest:], gradient[-rest:]) if rest else total


def _kernel_gradient_of_block(x: Array, gradient: Array, *, geometry: Geometry) -> Array:
    """Computes the gradient of a block by a convolution with a window as large as the result.

    Its channels, which are summed over, are the images of the block. The channels of the image are
    a third spatial dimension with a window of 1, so that many pixels share the loaded window; the
    taps of a kernel alone are too few.
    """
    x, pads = _cropped(x, geometry.used_pads)
    return _onednn.convolve(
        x.transpose(1, 2, 3, 0)[None],
        gradient.transpose(1, 2, 0, 3)[:, :, None],
        strides=(1, 1, 1),
        pads=[*pads, (0, 0)],
        dilation=(*geometry.strides, 1),
    )[0]


def _cropped(x: Array, pads: Sequence[tuple[int, int]]) -> tuple[Array, list[tuple[int, int]]]:
    """Crops images by negative pads, and returns them with the other pads."""
    crop = [(0, 0, 0), *((min(a, 0), min(b, 0), 0) for a, b in pads), (0, 0, 0)]
    x = lax.pad(x, jnp.zeros((), x.dtype), crop)
    return x, [(max(a, 0), max(b, 0)) for a, b in pads]
