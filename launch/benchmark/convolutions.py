"""Single 3x3 convolutions with the shapes of ResNets for small images."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from launch.benchmark.task import Operation, Task

SHAPES = ((32, 16), (16, 32), (8, 64))  # height and width, channels
PASSES = ("forward", "input gradient", "kernel gradient")

Conv = Callable[[jax.Array, jax.Array], jax.Array]


def name(size: int, channels: int, direction: str) -> str:
    """Returns the name of an operation.

    >>> name(32, 16, "forward")
    '32x32x16 forward'
    """
    return f"{size}x{size}x{channels} {direction}"


def flops(task: Task, size: int, channels: int) -> float:
    """Returns the floating-point operations of each pass, including those on the padding."""
    return 2.0 * task.batch_size * size**2 * 9 * channels**2


def jax_operations(task: Task, conv: Conv) -> dict[str, Operation]:
    """Compiles all shapes and passes of a convolution in JAX.

    Args:
      task: provides the batch size and the precision.
      conv: function of images and a kernel; its result has the shape of the images.
    """
    found = {}
    for size, channels in SHAPES:
        x, y, kernel = _arrays(task, size, channels)
        calls: dict[str, tuple[Any, ...]] = {
            "forward": (conv, x, kernel),
            "input gradient": (
                lambda x, kernel, y: jax.vjp(lambda x: conv(x, kernel), x)[1](y),
                *(x, kernel, y),
            ),
            "kernel gradient": (
                lambda x, kernel, y: jax.vjp(lambda kernel: conv(x, kernel), kernel)[1](y),
                *(x, kernel, y),
            ),
        }
        for direction in PASSES:
            call = _compiled(*calls[direction])
            found[name(size, channels, direction)] = Operation(call, flops(task, size, channels))
    return found


def _compiled(function: Callable[..., Any], *arguments: jax.Array) -> Callable[[], object]:
    compiled = jax.jit(function).lower(*arguments).compile()
    return lambda: jax.block_until_ready(compiled(*arguments))


def _arrays(task: Task, size: int, channels: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Draws images, a gradient of the same shape, and a kernel."""
    keys = jax.random.split(jax.random.key(0), 3)
    images = (task.batch_size, size, size, channels)
    shapes = (images, images, (3, 3, channels, channels))
    x, y, kernel = (
        jax.random.normal(key, shape, jnp.dtype(task.precision))
        for key, shape in zip(keys, shapes, strict=True)
    )
    return x, y, kernel
