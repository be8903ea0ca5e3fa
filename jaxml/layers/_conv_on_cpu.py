"""Convolution of images on a CPU by oneDNN, which jaxlib's build for x86 holds and XLA leaves idle.

On 2 cores with AVX-512, 3x3 convolutions of 128 images of 32x32x16, 16x16x32 and 8x8x64 run at 280,
300 and 230 GFLOP/s so, and at 130, 220 and 170 as XLA's own; kernel gradients at 90, 115 and 150 in
the place of 45, 75 and 120, or less within a network, where XLA computes what an image was made of
once more while it transposes it. A training step of ResNet-20 takes two thirds of the time.

Convolution is linear in the image and in the kernel. With the gradients by each, it is one of three
bilinear maps of which any two are the derivatives of the third, so derivatives of any order are
made of the three.
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

# XLA promises nothing of the name or the settings of oneDNN's convolution, so that only versions
# which were tried call it.
TRIED = {"0.10.2"}
# Smaller convolutions, in products of two numbers, are left to XLA: a step of small ones takes as
# long either way, while XLA's can be kept in JAX's cache of compiled programs, and oneDNN's cannot
# (JAX warns where it should). ResNet-20 has 10 million a convolution with 64 images of 8x8, and 300
# million with 128 of 32x32.
LEAST_PRODUCTS = 2**24
# Images whose kernel gradient is computed at once take about so many bytes, which a cache holds.
BLOCK_BYTES = 2**20
# oneDNN sums over the images of a block where others sum over channels, and is slow with few; so it
# is with few channels of an image, which stand in the place of pixels.
LEAST_BLOCK = 8
LAYOUT = ("NHWC", "HWIO", "NHWC")


class Geometry(NamedTuple):
    """The sizes of a convolution but for batch and channels."""

    image: tuple[int, int]
    window: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]

    @property
    def result_size(self) -> int:
        """Pixels of the result."""
        height, width = self.spread_result
        return -(-height // self.strides[0]) * -(-width // self.strides[1])

    @property
    def spread_result(self) -> tuple[int, int]:
        """Height and width of the result, its pixels as far apart as the strides."""
        height, width = (
            max((size + sum(pad) - window) // step * step + 1, 0)
            for size, window, step, pad in zip(
                self.image, self.window, self.strides, self.pads, strict=True
            )
        )
        return height, width

    @property
    def gradient_pads(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Zeros around the gradient by the result, spread by the strides, for that by the image."""
        rows, columns = (
            (window - 1 - before, size + before - spread)
            for size, window, (before, _), spread in zip(
                self.image, self.window, self.pads, self.spread_result, strict=True
            )
        )
        return rows, columns

    @property
    def used_pads(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """As `pads`, less what strides leave over at the end, which may be pixels."""
        rows, columns = (
            (before, window - 1 + spread - size - before)
            for size, window, (before, _), spread in zip(
                self.image, self.window, self.pads, self.spread_result, strict=True
            )
        )
        return rows, columns


class Tiles(NamedTuple):
    """One dimension of an image, cut into tiles as long as the stride.

    Pixel i of a tile takes part in the results `tile + last - t` for t from 0 to `reach - 1`, by
    the taps `stride * t + i - front`, where the kernel has them.

    Attributes:
      number: of tiles, the last of which may be longer than what is left of the image.
      reach: how many results a tile takes part in.
      last: how many tiles further on the last of these is.
      zeros: before and after the taps of the kernel; `front` above is the first of them.
    """

    number: int
    reach: int
    last: int
    zeros: tuple[int, int]

    @classmethod
    def of(cls, size: int, window: int, stride: int, pads: tuple[int, int]) -> Self:
        """The tiles of an image with so many pixels in this dimension."""
        last = -(-pads[0] // stride)
        front = stride * last - pads[0]
        reach = -(-(window + front) // stride)
        return cls(-(-size // stride), reach, last, (front, stride * reach - window - front))


def conv_on_cpu(
    x: Array, kernel: Array, *, strides: Sequence[int], pads: Sequence[tuple[int, int]]
) -> Array:
    """`conv` of images `[batch, height, width, in]` by a kernel `[height, width, in, out]`."""
    (top, bottom), (left, right) = pads
    geometry = Geometry(
        (x.shape[1], x.shape[2]),
        (kernel.shape[0], kernel.shape[1]),
        (strides[0], strides[1]),
        ((top, bottom), (left, right)),
    )
    # Within `shard_map`, arrays vary along axes of the mesh: XLA's convolution keeps track of it.
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
    """As a convolution whose results are tiles of the image, their pixels beside the channels.

    XLA's convolution of a gradient with zeros between its pixels can take hundreds of times longer,
    as for 32 images of 4x4x1024.
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
    """Images without what pads below 0 take away, and the other pads."""
    crop = [(0, 0, 0), *((min(a, 0), min(b, 0), 0) for a, b in pads), (0, 0, 0)]
    x = lax.pad(x, jnp.zeros((), x.dtype), crop)
    return x, [(max(a, 0), max(b, 0)) for a, b in pads]


def _kernel_gradient(x: Array, gradient: Array, *, geometry: Geometry) -> Array:
    if not gradient.size:  # XLA knows no window of size 0
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
    """Blocks of images, each transposed while it is in the cache.

    A loop keeps XLA from computing `x` and `gradient` anew as a part of the transposition.
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
    """As a convolution whose window is as large as the result.

    Its channels, which are summed over, are the images of the block. The channels of the image are
    a third dimension in space, with a window of 1: so many pixels share what is loaded of the
    window, while the taps of a kernel are too few to.
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
    """Convolution in 2 or 3 dimensions, channels last."""
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
def _is_tried() -> bool:
    return (
        sys.platform == "linux"
        and platform.machine() == "x86_64"
        and importlib.metadata.version("jaxlib") in TRIED
    )


def _has_onednn(context: Any) -> bool:
    """Whether a program that is lowered may call oneDNN.

    An export may be loaded by another version, and XLA would not know how to divide the work among
    devices.
    """
    module = context.module_context
    return (
        _is_tried()
        and not module.lowering_parameters.for_export
        and getattr(module.axis_context, "num_devices", 0) == 1
    )


def _create(
    name: str, plain: Callable[..., Array], by_onednn: Callable[..., Array], *, kernel: int
) -> Primitive:
    """A primitive with the value of `plain`.

    Args:
      name: as programs are printed with.
      plain: by XLA.
      by_onednn: the same.
      kernel: which of the two arguments and the result has a kernel's shape; the first has images.
    """
    primitive = Primitive(name)

    @partial(jax.jit, static_argnames="geometry")
    def compiled(x: Any, y: Any, *, geometry: Geometry) -> Any:
        return primitive.bind(x, y, geometry=geometry)

    def run(x: Any, y: Any, *, geometry: Geometry) -> Any:
        config: Any = jax.config  # its settings are not declared
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
