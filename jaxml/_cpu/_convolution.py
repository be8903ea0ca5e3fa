"""Convolution of images as JAX primitives that call oneDNN where a program may."""

import functools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxml._cpu import _maps, _proof
from jaxml._cpu._geometry import Geometry
from jaxml._cpu._small_images import convolve_small_images
from jaxml.types import Array

# Convolutions of fewer multiplications on a device are left to XLA: a step of small ones takes as
# long either way, and JAX's cache of compiled programs can hold XLA's but not oneDNN's (JAX warns
# about it). Those of ResNet-20 take 10 million with 64 images of 8x8, and 300 million with 128 of
# 32x32.
LEAST_PRODUCTS = 2**24


def accelerate(
    move_excess_padding: Callable[..., Any], convolve: Callable[..., Array]
) -> Callable[..., Array]:
    """Decorates a convolution, which remains in use where no faster one is known.

    Args:
      move_excess_padding: see `jaxml.layers._padding`.
      convolve: `(x, kernel, strides, pads, dilation, groups) -> y` with images
        `[batch, *spatial, in]` and a kernel `[*window, in / groups, out]`.

    Returns:
      A function with the same arguments and equal values.
    """

    @functools.wraps(convolve)
    def accelerated(
        x: Array, kernel: Array, strides: Any, pads: Any, dilation: Any, groups: int
    ) -> Array:
        plain = kernel.ndim == 4 and max(dilation) == groups == 1
        sizes_are_known = all(isinstance(size, int) for size in x.shape)  # not so in some exports
        if plain and sizes_are_known and jax.default_backend() == "cpu":
            window: Any = kernel.shape[:2]
            if max(x.shape[1:-1]) < min(window):
                return convolve_small_images(x, kernel, strides=strides, pads=pads)
            # Within `shard_map`, arrays vary along mesh axes, which only XLA's convolution handles.
            if not jax.sharding.get_abstract_mesh().manual_axes:
                x, pads = move_excess_padding(x, window, strides, pads, dilation)
                image: Any = x.shape[1:3]
                geometry = Geometry(image, window, tuple(strides), tuple(pads))
                return conv_p.bind(x, kernel, geometry=geometry)
        return convolve(x, kernel, strides, pads, dilation, groups)

    return accelerated


def _may_call_onednn(context: Any, *, devices: int, batch: int) -> bool:
    """Returns whether a program for a number of devices may call oneDNN when it is lowered.

    Another version may load an export, and programs can be lowered for more devices than there are.
    """
    return (
        not context.module_context.lowering_parameters.for_export
        and 0 < devices <= jax.device_count()
        and batch % devices == 0
        and _proof.onednn_works(devices)
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
        batch = all_arrays[0].shape[0]
        devices = getattr(context.module_context.axis_context, "num_devices", 0)
        products = batch * geometry.result_size * all_arrays[kernel].size
        large = all_arrays[0].dtype == jnp.float32 and products >= max(devices * LEAST_PRODUCTS, 1)
        rule = mlir.lower_fun(plain, multiple_results=False)
        if large and _may_call_onednn(context, devices=devices, batch=batch):
            rule = mlir.lower_fun(by_onednn, multiple_results=False)
            if devices > 1:
                from jaxml._cpu import _partition  # imports an experimental module of JAX

                rule = partial(_partition.lower, function=by_onednn, sums=kernel == 2)
        return rule(context, *arrays, geometry=geometry)

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


conv_p = _create("conv_on_cpu", _maps.conv, _maps.conv_by_onednn, kernel=1)
_image_gradient_p = _create(
    "image_gradient_on_cpu", _maps.image_gradient, _maps.image_gradient_by_onednn, kernel=1
)
_kernel_gradient_p = _create(
    "kernel_gradient_on_cpu", _maps.kernel_gradient, _maps.kernel_gradient_by_onednn, kernel=2
)

ad.defbilinear(
    conv_p,
    lambda ct, _, kernel, **geometry: _image_gradient_p.bind(ct, kernel, **geometry),
    lambda ct, x, _, **geometry: _kernel_gradient_p.bind(x, ct, **geometry),
)
ad.defbilinear(
    _image_gradient_p,
    lambda ct, _, kernel, **geometry: conv_p.bind(ct, kernel, **geometry),
    lambda ct, gradient, _, **geometry: _kernel_gradient_p.bind(ct, gradient, **geometry),
)
ad.defbilinear(
    _kernel_gradient_p,
    lambda ct, _, gradient, **geometry: _image_gradient_p.bind(gradient, ct, **geometry),
    lambda ct, x, _, **geometry: conv_p.bind(x, ct, **geometry),
)
