"""Any padding, against sums over taps in float64: values, gradients and second derivatives.

XLA's convolution on a CPU reads uninitialised memory where the padding before a dimension is
negative, and the padding of a derivative can be. The cases are drawn once, by seed.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml._cpu import _convolution
from jaxml.layers import conv, conv_transpose, depthwise_conv
from tests import references

ON_CPU = pytest.mark.skipif(jax.default_backend() != "cpu", reason="the fault is XLA's on a CPU")


class Reference:
    """A convolution and its two gradients as sums over the taps of the window."""

    def __init__(self, size, window, strides, pads, dilation, groups):
        self.size, self.window, self.pads, self.groups = size, window, pads, groups
        reach = [d * (taps - 1) + 1 for taps, d in zip(window, dilation, strict=True)]
        padded = [length + sum(pad) for length, pad in zip(size, pads, strict=True)]
        rows = list(zip(padded, reach, strides, strict=True))
        self.outputs = [(length - r) // s + 1 for length, r, s in rows]
        self.places = {
            tap: tuple(
                slice(d * t, d * t + s * (n - 1) + 1, s)
                for t, d, s, n in zip(tap, dilation, strides, self.outputs, strict=True)
            )
            for tap in np.ndindex(*window)
        }

    def _groups(self, x):
        return x.reshape(*x.shape[:-1], self.groups, -1)

    def _padded(self, x):
        return self._groups(np.pad(x, [(0, 0), *self.pads, (0, 0)]))

    def _kernel(self, kernel):
        return self._groups(kernel)  # [*window, in of a group, groups, out of a group]

    def conv(self, x, kernel):
        """The result."""
        padded, kernel = self._padded(x), self._kernel(kernel)
        parts = [
            np.einsum("...gi,igo->...go", padded[:, *place], kernel[tap])
            for tap, place in self.places.items()
        ]
        y = np.sum(parts, axis=0)
        return y.reshape(*y.shape[:-2], -1)

    def image_gradient(self, cotangent, kernel):
        """The gradient by the images."""
        cotangent, kernel = self._groups(cotangent), self._kernel(kernel)
        whole = [size + sum(pad) for size, pad in zip(self.size, self.pads, strict=True)]
        x = np.zeros((len(cotangent), *whole, self.groups, kernel.shape[-3]))
        for tap, place in self.places.items():
            x[:, *place] += np.einsum("...go,igo->...gi", cotangent, kernel[tap])
        rows = zip(self.size, self.pads, strict=True)
        cut = x[:, *(slice(low, low + size) for size, (low, _) in rows)]
        return cut.reshape(*cut.shape[:-2], -1)

    def kernel_gradient(self, x, cotangent):
        """The gradient by the kernel."""
        padded, cotangent = self._padded(x), self._groups(cotangent)
        kernel = np.stack(
            [
                np.einsum("ngi,ngo->igo", flat(padded[:, *place]), flat(cotangent))
                for place in self.places.values()
            ]
        )
        return kernel.reshape(*self.window, kernel.shape[1], -1)


def flat(x):
    """Images and pixels in one dimension."""
    return x.reshape(-1, *x.shape[-2:])


def draw(seed):
    """The sizes of a convolution, its settings, its channels and those of its result."""
    rng = np.random.default_rng(seed)
    dims = int(rng.choice([1, 2, 2, 3]))
    size, window = rng.integers(1, 5, dims), rng.integers(1, 4, dims)
    strides, dilation = rng.integers(1, 4, dims), rng.choice([1, 1, 2], dims)
    pads = []
    for length, reach in zip(size, (window - 1) * dilation + 1, strict=True):
        low, high = rng.integers(0, reach + 3, 2)
        pads.append((int(low), int(max(high, reach - length - low))))
    channels, out, groups = [(3, 2, 1), (16, 16, 1), (8, 2, 2), (4, 8, 4)][rng.integers(4)]
    sizes = [tuple(map(int, ints)) for ints in (size, window, strides, dilation)]
    return *sizes, tuple(pads), channels, out, groups


def draw_widely(seed):
    """As `draw`, from all ranks, any groups, and paddings on both sides of zero outputs."""
    rng = np.random.default_rng(seed)
    dims = int(rng.integers(1, 4))
    most = 7 if dims < 3 else 5
    size, window = rng.integers(1, most, dims), rng.integers(1, 5, dims)
    strides, dilation = rng.integers(1, 5, dims), rng.integers(1, 4, dims)
    reach = (window - 1) * dilation + 1
    low = rng.integers(0, reach + 3) * rng.integers(0, 2, dims)
    high = np.maximum(rng.integers(0, reach + 3) * rng.integers(0, 2, dims), reach - size - low)
    groups = int(rng.choice([1, 1, 2, 3, 4, 8]))
    channels, out = (groups * int(rng.integers(1, 9 if groups < 3 else 3)) for _ in range(2))
    sizes = [tuple(map(int, ints)) for ints in (size, window, strides, dilation)]
    pads = tuple((int(before), int(after)) for before, after in zip(low, high, strict=True))
    return *sizes, pads, channels, out, groups


EVEN_IMAGE = ((3, 4), (2, 2), (1, 1), (1, 1))
CASES = {
    "before only": (*EVEN_IMAGE, ((2, 0), (2, 0)), 16, 16, 1),
    "before more": (*EVEN_IMAGE, ((4, 2), (0, 0)), 16, 16, 1),
    "after only": (*EVEN_IMAGE, ((0, 2), (0, 3)), 16, 16, 1),
    "one dimension": ((5,), (2,), (1,), (1,), ((2, 0),), 16, 16, 1),
    "result smaller than its padding": ((1, 4), (1, 4), (1, 3), (1, 1), ((0, 0), (2, 0)), 8, 8, 1),
    "window larger than the image": ((2, 3), (2, 5), (1, 1), (1, 1), ((2, 0), (1, 4)), 3, 3, 1),
    # XLA ended the process.
    "no padding left": ((2, 4), (3, 2), (3, 2), (3, 1), ((2, 3), (1, 1)), 8, 5, 1),
    **{f"seed {seed}": draw(seed) for seed in range(6)},
}


def derivatives(function, arrays, cotangent, directions):
    """The value, its gradients, and the gradients of a linear function of those."""

    def gradients(x, kernel, cotangent):
        y, vjp = jax.vjp(function, x, kernel)
        return y, vjp(cotangent)

    def along(*at):
        return sum(jnp.vdot(g, d) for g, d in zip(gradients(*at)[1], directions, strict=True))

    everything: Any = (*arrays, cotangent)
    return gradients(*everything), jax.grad(along, (0, 1, 2))(*everything)


def check(case, *, of=conv, transpose=True, jit=jax.jit):
    size, window, strides, dilation, pads, channels, out, groups = case
    reference = Reference(size, window, strides, pads, dilation, groups)
    rng = np.random.default_rng(0)
    image, taps = (2, *size, channels), (*window, channels // groups, out)
    shapes = [image, taps, (2, *reference.outputs, out), image, taps]
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    x, kernel, cotangent, dx, dkernel = references.float64(arrays)
    gradient = reference.image_gradient(cotangent, kernel)
    expected = (
        (reference.conv(x, kernel), (gradient, reference.kernel_gradient(x, cotangent))),
        (
            reference.image_gradient(cotangent, dkernel),
            reference.kernel_gradient(dx, cotangent),
            reference.conv(dx, kernel) + reference.conv(x, dkernel),
        ),
    )
    settings = {"strides": strides, "padding": pads, "dilation": dilation, "groups": groups}
    of = partial(of, **settings)
    call = jit(lambda *a: derivatives(of, a[:2], a[2], a[3:]))
    references.assert_trees_close(call(*arrays), expected, 2e-6)
    if not transpose:
        return
    # What the strides leave over at the end.
    whole = [
        s * (n - 1) + d * (taps - 1) + 1 - sum(pad)
        for s, n, d, taps, pad in zip(
            strides, reference.outputs, dilation, window, pads, strict=True
        )
    ]
    settings["output_padding"] = tuple(a - b for a, b in zip(size, whole, strict=True))
    up = partial(conv_transpose, **settings)
    expected = (
        (gradient, (reference.conv(dx, kernel), reference.kernel_gradient(dx, cotangent))),
        (
            reference.conv(dx, dkernel),
            reference.kernel_gradient(dx, reference.conv(x, kernel)),
            reference.image_gradient(reference.conv(x, kernel), kernel)
            + reference.image_gradient(cotangent, dkernel),
        ),
    )
    call = jit(lambda ct, k, dx, dct, dk: derivatives(up, (ct, k), dx, (dct, dk)))
    y = reference.conv(x, kernel).astype(np.float32)
    got = call(arrays[2], arrays[1], arrays[3], y, arrays[4])
    references.assert_trees_close(got, expected, 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_derivatives_and_transposed_convolution_with_any_padding(case):
    check(case)


@pytest.mark.slow
@ON_CPU
@pytest.mark.parametrize(
    "name", ["before only", "result smaller than its padding", "window larger than the image"]
)
def test_the_same_by_xlas_convolution(monkeypatch, name):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    check(CASES[name])


@ON_CPU
def test_the_same_by_onednn(monkeypatch):
    monkeypatch.setattr(_convolution, "LEAST_PRODUCTS", 0)
    check(CASES["before more"])


def test_the_same_under_vmap():
    def mapped(x, kernel, **settings):
        return jax.vmap(partial(conv, **settings), (0, None))(x, kernel)

    check(CASES["before only"], of=mapped, transpose=False)


def depthwise(x, kernel, *, groups, **settings):
    return depthwise_conv(x, kernel.reshape(*kernel.shape[:-2], groups, -1), **settings)


def test_the_same_for_a_depthwise_convolution():
    case = ((3, 4), (2, 2), (1, 1), (1, 1), ((2, 0), (3, 1)), 8, 8, 8)
    check(case, of=depthwise, transpose=False)


def test_a_convolution_of_a_gradient_sees_no_pixels_that_were_cut_off():
    # XLA merges a negative padding with the padding of the convolution after it.
    size, window, strides, dilation, pads, channels, out, groups = CASES["before more"]
    reference = Reference(size, window, strides, pads, dilation, groups)
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(*window, channels, out)).astype(np.float32)
    cotangent = rng.normal(size=(2, *reference.outputs, out)).astype(np.float32)

    @jax.jit
    def both(cotangent, kernel):
        x = conv_transpose(cotangent, kernel, padding=pads)
        return conv(x, kernel, padding=pads)

    wide = references.float64([cotangent, kernel])
    expected = reference.conv(reference.image_gradient(*wide), wide[1])
    references.assert_close(both(cotangent, kernel), expected, 2e-6)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, "SAME"])
def test_a_padding_less_than_the_window_stays_in_the_convolution(strides, padding):
    for dims in (1, 2, 3):
        x, kernel = jnp.ones((1, *[8] * dims, 2)), jnp.ones((*[3] * dims, 2, 2))
        program = jax.make_jaxpr(partial(conv, strides=strides, padding=padding))(x, kernel)
        names = {equation.primitive.name for equation in program.jaxpr.eqns}
        assert not names & {"concatenate", "pad"}


@pytest.mark.large
@pytest.mark.parametrize("block", range(100))
def test_many_convolutions(monkeypatch, block):
    """Thirty cases each: every third is depthwise, every other one goes to oneDNN on a CPU."""
    for seed in range(1000 + 30 * block, 1030 + 30 * block):
        case = draw_widely(seed)
        if seed % 3 == 0:
            *others, channels, _, _ = case
            case = (*others, channels, channels * (1 + seed % 2), channels)
        monkeypatch.setattr(_convolution, "LEAST_PRODUCTS", 0 if seed % 2 else 2**24)
        try:
            check(case, jit=references.plain_jit)
            if seed % 3 == 0:
                check(case, of=depthwise, transpose=False, jit=references.plain_jit)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {case}") from error
