"""Convolution of images on a CPU by oneDNN, which jaxlib for x86 contains but XLA does not call.

On 2 cores with AVX-512, 3x3 convolutions of 128 images of 32x32x16, 16x16x32 and 8x8x64 run at 280,
300 and 230 GFLOP/s, compared with 130, 220 and 170 by XLA. Kernel gradients run at 90, 115 and 150
GFLOP/s compared with 45, 75 and 120, or less within a network, where XLA recomputes the images
while it transposes them. A training step of ResNet-20 takes two thirds of the time.

Convolution is linear in the images and in the kernel. Together with its gradients with respect to
each, it is one of three bilinear maps, any two of which are the derivatives of the third, so
derivatives of any order are combinations of the three.
"""

import importlib.metadata
import json
import operator
import platform
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxml.types import Array

# XLA does not guarantee the name and the settings of oneDNN's convolution, so only tested versions
# of jaxlib call it.
TESTED = {"0.10.2"}
# Convolutions of fewer multiplications are left to XLA: a step of small ones takes as long either
# way, and JAX's cache of compiled programs can hold XLA's but not oneDNN's (JAX warns about it).
# Those of ResNet-20 take 10 million with 64 images of 8x8, and 300 million with 128 of 32x32.
LEAST_PRODUCTS = 2**24
# Approximate size of the block of images whose kernel gradient is computed together; fits a cache.
BLOCK_BYTES = 2**20
# Kernel gradients sum over the images of a block in place of channels, and have the channels of an
# image in place of pixels; oneDNN is slow with few of either.
LEAST_BLOCK = 8
LAYOUT = ("NHWC", "HWIO", "NHWC")


class Geometry(NamedTuple):
    """Sizes of a convolution, except batch and channels."""

    image: tuple[int, int]
    window: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]

    @property
    def result_size(self) -> int:
        """Number of pixels of the result."""
        height, width = self.spread_result
        return -(-height // self.strides[0]) * -(-width // self.strides[1])

    @property
    def spread_result(self) -> tuple[int, int]:
        """Height and width of the result with its pixels spread by the strides."""
        height, width = (
            max((size + sum(pad) - window) // step * step + 1, 0)
            for size, window, step, pad in zip(
                self.image, self.window, self.strides, self.pads, strict=True
            )
        )
        return height, width

    @property
    def gradient_pads(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Padding of the spread gradient of the result in the gradient of the image."""
        rows, columns = (
            (window - 1 - before, size + before - spread)
            for size, window, (before, _), spread in zip(
                self.image, self.window, self.pads, self.spread_result, strict=True
            )
        )
        return rows, columns

    @property
    def used_pads(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Padding that windows cover: `pads` without the remainder at the end; may be negative."""
        rows, columns = (
            (before, window - 1 + spread - size - before)
            for size, window, (before, _), spread in zip(
                self.image, self.window, self.pads, self.spread_result, strict=True
            )
        )
        return rows, columns


class Tiles(NamedTuple):
    """One dimension of an image, cut into tiles as long as the stride.

    Pixel i of a tile contributes to the results `tile + last - t` for t from 0 to `reach - 1` by
    the taps `stride * t + i - zeros[0]`, where the kernel has them.

    Attributes:
      number: number of tiles, the last of which may extend beyond the image.
      reach: number of results that a tile contributes to.
      last: offset from a tile to the last of these results.
      zeros: number of zeros before and after the taps of the kernel.
    """

    number: int
    reach: int
    last: int
    zeros: tuple[int, int]

    @classmethod
    def of(cls, size: int, window: int, stride: int, pads: tuple[int, int]) -> Self:
        """Returns the tiles of a dimension of the given size."""
        last = -(-pads[0] // stride)
        front = stride * last - pads[0]
        reach = -(-(window + front) // stride)
        return cls(-(-size // stride), reach, last, (front, stride * reach - window - front))


def conv_on_cpu(
    x: Array, kernel: Array, *, strides: Sequence[int], pads: Sequence[tuple[int, int]]
) -> Array:
    """Convolves images `[batch, height, width, in]` with a kernel `[height, width, in, out]`."""
    (top, bottom), (left, right) = pads
    geometry = Geometry(
        (x.shape[1], x.shape[2]),
        (kernel.shape[0], kernel.shape[1]),
        (strides[0], strides[1]),
        ((top, bottom), (left, right)),
    )
    # Within `shard_map`, arrays vary along mesh axes, which XLA's convolution keeps track of.
    conv = _conv if jax.sharding.get_abstract_mesh().manual_axes else _conv_p.bind
    return conv(x, kernel, geometry=geometry)


def _conv(x: Array, kernel: Array, *, geometry: Geometry) -> Array:
    return lax.conv_general_dilated(
        x, kernel, geometry.strides, geometry.pads, dimension_numbers=LAYOUT
    )


def _conv_by_onednn(x: Array, kernel: Array, *, geometry: Geometry) -> Array:
    return _onednn(x, kernel, strides=geometry.strides, pads=geometry.pads)


def _image_gradient(gradient: Array, kernel: Array, *, geometry: Geometry) -> Array:
    return lax.conv_general_dilated(
        gradient,
        kernel[::-1, ::-1].swapaxes(2, 3),
        (1, 1),
        geometry.gradient_pads,
        lhs_dilation=geometry.strides,
        dimension_numbers=LAYOUT,
    )


def _image_gradient_by_onednn(gradient: Array, kernel: Array, *, geometry: Geometry) -> Array:
    """Computes tiles of the image by a convolution, with the pixels of a tile next to the channels.

    XLA's convolution of a gradient with zeros between its pixels can take hundreds of times as
    long, such as for 32 images of 4x4x1024.
    """
    strides = geometry.strides
    if any(map(operator.lt, geometry.window, strides)):  # most taps would be zeros
        return _image_gradient(gradient, kernel, geometry=geometry)
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
    x = _onednn(gradient, kernel, strides=(1, 1), pads=pads)
    x = x.reshape(-1, rows.number, columns.number, *strides, channels).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(-1, rows.number * strides[0], columns.number * strides[1], channels)
    return x[:, : geometry.image[0], : geometry.image[1]]


def _cropped(x: Array, pads: Sequence[tuple[int, int]]) -> tuple[Array, list[tuple[int, int]]]:
    """Crops images by negative pads, and returns them with the other pads."""
    crop = [(0, 0, 0), *((min(a, 0), min(b, 0), 0) for a, b in pads), (0, 0, 0)]
    x = lax.pad(x, jnp.zeros((), x.dtype), crop)
    return x, [(max(a, 0), max(b, 0)) for a, b in pads]


def _kernel_gradient(x: Array, gradient: Array, *, geometry: Geometry) -> Array:
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


def _kernel_gradient_by_onednn(x: Array, gradient: Array, *, geometry: Geometry) -> Array:
    """Sums over blocks of images, each transposed while it is in the cache.

    The loop prevents XLA from recomputing `x` and `gradient` as a part of the transposition.
    """
    batch, *size = x.shape
    if geometry == Geometry(geometry.image, (1, 1), (1, 1), ((0, 0), (0, 0))):
        return lax.dot_general(x, gradient, (((0, 1, 2), (0, 1, 2)), ((), ())))[None, None]
    if min(batch, x.shape[3]) < LEAST_BLOCK:
        return _kernel_gradient(x, gradient, geometry=geometry)
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
    return _onednn(
        x.transpose(1, 2, 3, 0)[None],
        gradient.transpose(1, 2, 0, 3)[:, :, None],
        strides=(1, 1, 1),
        pads=[*pads, (0, 0)],
        dilation=(*geometry.strides, 1),
    )[0]


def _onednn(
    x: Array,
    kernel: Array,
    *,
    strides: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilation: Sequence[int] | None = None,
) -> Array:
    """Convolves in 2 or 3 dimensions with channels last."""
    rank = len(strides)
    window = kernel.shape[:rank]
    dilation = dilation or (1,) * rank
    result = [
        (size + sum(pad) - (taps - 1) * spread - 1) // step + 1
        for size, pad, taps, spread, step in zip(
            x.shape[1:-1], pads, window, dilation, strides, strict=True
        )
    ]
    data = {
        "batch_dim": "0",
        "feature_dim": str(rank + 1),
        "spatial_dims": _texts(range(1, rank + 1)),
    }
    images = {"dims": str(rank + 2), "data": data}
    config = {
        "dims": str(rank + 2),
        "input": images,
        "kernel": {
            "dims": str(rank + 2),
            "filter": {
                "input_feature_dim": str(rank),
                "output_feature_dim": str(rank + 1),
                "spatial_dims": _texts(range(rank)),
                "shape": _texts(kernel.shape),
            },
        },
        "output": images,
        "window": {
            "size": _texts(window),
            "pad_left": _texts(before for before, _ in pads),
            "pad_right": _texts(after for _, after in pads),
            "strides": _texts(strides),
            "window_dilations": _texts(dilation),
        },
        "feature_groups": "1",
    }
    call = jax.ffi.ffi_call(
        "__onednn$convolution",
        jax.ShapeDtypeStruct((x.shape[0], *result, kernel.shape[-1]), x.dtype),
        custom_call_api_version=1,
        legacy_backend_config=json.dumps({"onednn_conv_config": config}),
    )
    return call(x, kernel)


def _texts(numbers: Any) -> list[str]:
    return [str(number) for number in numbers]


@cache
def _is_tested() -> bool:
    return (
        sys.platform == "linux"
        and platform.machine() == "x86_64"
        and importlib.metadata.version("jaxlib") in TESTED
    )


def _has_onednn(context: Any) -> bool:
    """Returns whether a program may call oneDNN when it is lowered.

    Another version may load an export, and XLA cannot partition the call among devices.
    """
    module = context.module_context
    return (
        _is_tested()
        and not module.lowering_parameters.for_export
        and getattr(module.axis_context, "num_devices", 0) == 1
    )


def _create(
    name: str, plain: Callable[..., Array], by_onednn: Callable[..., Array], *, kernel: int
) -> Primitive:
    """Creates a primitive with two implementations.

    Args:
      name: name in printed programs.
      plain: the implementation by XLA.
      by_onednn: the implementation by oneDNN, with equal values.
      kernel: index of the array with a kernel's shape among the arguments and the result; the first
        argument has the shape of images.
    """
    primitive = Primitive(name)

    @partial(jax.jit, static_argnames="geometry")
    def compiled(x: Any, y: Any, *, geometry: Geometry) -> Any:
        return primitive.bind(x, y, geometry=geometry)

    def run(x: Any, y: Any, *, geometry: Geometry) -> Any:
        config: Any = jax.config  # its attributes are not declared
        now = plain if config.jax_disable_jit else compiled
        return now(x, y, geometry=geometry)

    def lower(context: Any, *arrays: Any, geometry: Geometry) -> Any:
        all_arrays = (*context.avals_in, *context.avals_out)
        products = all_arrays[0].shape[0] * geometry.result_size * all_arrays[kernel].size
        large = all_arrays[0].dtype == jnp.float32 and products >= max(LEAST_PRODUCTS, 1)
        chosen = by_onednn if large and _has_onednn(context) else plain
        return mlir.lower_fun(chosen, multiple_results=False)(context, *arrays, geometry=geometry)

    def batch(arrays: Sequence[Array], axes: Sequence[Any], *, geometry: Geometry) -> Any:
        return jax.vmap(partial(plain, geometry=geometry), in_axes=tuple(axes))(*arrays), 0

    def shape(*arrays: Any, geometry: Geometry) -> Any:
        result = jax.eval_shape(partial(plain, geometry=geometry), *arrays)
        return ShapedArray(result.shape, result.dtype)

    primitive.def_impl(run)
    primitive.def_abstract_eval(shape)
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(plain, multiple_results=False))
    mlir.register_lowering(primitive, lower, platform="cpu")
    return primitive


_conv_p = _create("conv_on_cpu", _conv, _conv_by_onednn, kernel=1)
_image_gradient_p = _create(
    "image_gradient_on_cpu", _image_gradient, _image_gradient_by_onednn, kernel=1
)
_kernel_gradient_p = _create(
    "kernel_gradient_on_cpu", _kernel_gradient, _kernel_gradient_by_onednn, kernel=2
)

ad.defbilinear(
    _conv_p,
    lambda ct, _, kernel, **geometry: _image_gradient_p.bind(ct, kernel, **geometry),
    lambda ct, x, _, **geometry: _kernel_gradient_p.bind(x, ct, **geometry),
)
ad.defbilinear(
    _image_gradient_p,
    lambda ct, _, kernel, **geometry: _conv_p.bind(ct, kernel, **geometry),
    lambda ct, gradient, _, **geometry: _kernel_gradient_p.bind(ct, gradient, **geometry),
)
ad.defbilinear(
    _kernel_gradient_p,
    lambda ct, _, gradient, **geometry: _image_gradient_p.bind(gradient, ct, **geometry),
    lambda ct, x, _, **geometry: _conv_p.bind(x, ct, **geometry),
)
