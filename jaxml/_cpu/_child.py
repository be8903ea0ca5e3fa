"""The child process of a proof: compares small convolutions with float64 NumPy.

`python -m jaxml._cpu._child onednn` calls oneDNN, and `onednn-partition` calls it on two devices.
With an XLA flag as its argument, the program computes by XLA, which reads the flag from the
environment. It prints "passed" if all values agree.
"""

import sys
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxml._cpu import _convolution, _maps, _onednn, _proof
from jaxml._cpu._geometry import Geometry, Pads, result_shape

# Largest error relative to the largest value. The sums have at most 33,000 products; in float32
# their errors are below 2e-6, in TensorFloat-32 and bfloat16 above 1e-4.
TOLERANCE = 2e-5


class Case(NamedTuple):
    """A convolution with its gradients."""

    images: tuple[int, int, int, int]
    window: tuple[int, int]
    out: int
    strides: tuple[int, int] = (1, 1)
    pads: Pads = ((0, 0), (0, 0))
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


# XLA computes all cases; oneDNN is called without dilation and groups.
CASES = [
    Case((8, 9, 8, 3), (3, 3), 16, pads=((1, 1), (1, 1))),
    Case((9, 6, 7, 16), (3, 3), 32, pads=((1, 1), (1, 1))),
    Case((8, 4, 4, 64), (3, 3), 64, pads=((1, 1), (1, 1))),
    Case((8, 8, 9, 16), (3, 3), 16, (2, 2), ((0, 1), (1, 1))),
    Case((8, 9, 7, 16), (1, 1), 32, (2, 2)),
    Case((8, 5, 6, 16), (1, 1), 8),
    Case((8, 7, 8, 16), (5, 2), 8, (1, 3), ((4, 0), (1, 0))),
    Case((8, 14, 13, 3), (7, 7), 16, (2, 2), ((3, 3), (2, 3))),
    Case((8, 8, 9, 16), (3, 3), 16, (1, 1), ((2, 1), (2, 2)), dilation=(2, 2)),
    Case((8, 7, 6, 16), (3, 3), 32, (2, 1), ((1, 1), (0, 1)), groups=4),
    Case((8, 7, 6, 16), (3, 3), 16, (1, 1), ((1, 1), (1, 1)), groups=16),
]
# Large enough for oneDNN on two devices.
LARGE_CASES = [
    Case((32, 16, 16, 16), (3, 3), 32, pads=((1, 1), (1, 1))),
    Case((32, 32, 31, 16), (3, 3), 32, (2, 2), ((0, 1), (1, 1))),
    Case((128, 16, 16, 32), (1, 1), 32),
]


def main(name: str) -> None:
    """Compares the cases of a fast path; exits with a message if a value is wrong."""
    cases, maps = CASES, xla
    if name == _proof.ONEDNN:
        cases, maps = [c for c in CASES if max(c.dilation) == c.groups == 1], onednn
    elif name == _proof.PARTITION:
        cases, maps = LARGE_CASES, primitives
        jax.config.update("jax_num_cpu_devices", 2)
        _proof.onednn_works = lambda devices: devices == 2  # what this process proves
    examples = [example(case) for case in cases]
    arguments = _on_two_devices(examples) if maps is primitives else examples

    @jax.jit
    def compute(arguments: Any) -> Any:
        return [maps(case, *arrays) for case, arrays in zip(cases, arguments, strict=True)]

    program = compute.lower(arguments).compile()
    if maps is primitives and _onednn.TARGET not in str(program.as_text()):
        sys.exit("the program does not call oneDNN")
    results = jax.device_get(program(arguments))
    for case, arrays, found in zip(cases, examples, results, strict=True):
        wanted = reference(case, *(array.astype(np.float64) for array in arrays))
        for label, got, value in zip(("value", "image", "kernel"), found, wanted, strict=True):
            error = np.max(np.abs(got - value)) / np.max(np.abs(value))
            if got.shape != value.shape or not error <= TOLERANCE:
                sys.exit(f"wrong {label} of a convolution: relative error {error:.1e}, {case}")
    sys.stdout.write(f"{_proof.PASSED}\n")


def _on_two_devices(examples: Any) -> Any:
    """Shards the batches of all examples over two devices."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    batch, everywhere = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (["data"], []))
    return jax.device_put(examples, [(batch, everywhere, batch)] * len(examples))


def example(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws the images, the kernel and the gradient of the result."""
    rng = np.random.default_rng(0)
    batch, *image, channels = case.images
    result = result_shape(image, case.window, case.strides, case.pads, case.dilation)
    kernel = (*case.window, channels // case.groups, case.out)
    x, kernel, gradient = (
        rng.normal(size=shape).astype(np.float32)
        for shape in (case.images, kernel, (batch, *result, case.out))
    )
    return x, kernel, gradient


def onednn(case: Case, x: Any, kernel: Any, gradient: Any) -> Any:
    """Returns the result of a convolution and both gradients, by oneDNN."""
    geometry = Geometry(case.images[1:3], case.window, case.strides, case.pads)
    return (
        _maps.conv_by_onednn(x, kernel, geometry=geometry),
        _maps.image_gradient_by_onednn(gradient, kernel, geometry=geometry),
        _maps.kernel_gradient_by_onednn(x, gradient, geometry=geometry),
    )


def primitives(case: Case, x: Any, kernel: Any, gradient: Any) -> Any:
    """Returns the result of a convolution and both gradients, as `jaxml.layers` computes them."""
    geometry = Geometry(case.images[1:3], case.window, case.strides, case.pads)
    y, vjp = jax.vjp(partial(_convolution.conv_p.bind, geometry=geometry), x, kernel)
    return y, *vjp(gradient)


def xla(case: Case, x: Any, kernel: Any, gradient: Any) -> Any:
    """Returns the result of a convolution and both gradients, by XLA."""

    def conv(x: Any, kernel: Any) -> Any:
        return lax.conv_general_dilated(
            x,
            kernel,
            case.strides,
            case.pads,
            rhs_dilation=case.dilation,
            dimension_numbers=_maps.LAYOUT,
            feature_group_count=case.groups,
        )

    y, vjp = jax.vjp(conv, x, kernel)
    return y, *vjp(gradient)


def reference(case: Case, x: Any, kernel: Any, gradient: Any) -> tuple[Any, Any, Any]:
    """Returns the result of a convolution and both gradients, as sums over the taps."""

    def grouped(array: Any) -> Any:
        return array.reshape(*array.shape[:-1], case.groups, -1)

    padded = grouped(np.pad(x, [(0, 0), *case.pads, (0, 0)]))
    kernel, gradient = grouped(kernel), grouped(gradient)
    y, of_padded, of_kernel = map(np.zeros_like, (gradient, padded, kernel))
    for tap in np.ndindex(*case.window):
        rows, columns = (
            slice(t * spread, t * spread + step * (count - 1) + 1, step)
            for t, spread, step, count in zip(
                tap, case.dilation, case.strides, gradient.shape[1:3], strict=True
            )
        )
        pixels = padded[:, rows, columns]
        y += np.einsum("nhwgi,igo->nhwgo", pixels, kernel[tap])
        of_padded[:, rows, columns] += np.einsum("nhwgo,igo->nhwgi", gradient, kernel[tap])
        of_kernel[tap] = np.einsum("nhwgi,nhwgo->igo", pixels, gradient)
    (top, _), (left, _) = case.pads
    of_x = of_padded[:, top : top + case.images[1], left : left + case.images[2]]
    of_x, of_kernel, y = (array.reshape(*array.shape[:-2], -1) for array in (of_x, of_kernel, y))
    return y, of_x, of_kernel


if __name__ == "__main__":
    main(sys.argv[1])
