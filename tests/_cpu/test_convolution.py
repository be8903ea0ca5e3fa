"""Convolution by oneDNN: values and gradients in float64, and where a program may not call it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jaxml import _cpu
from jaxml._cpu import _convolution, _maps, _proof
from jaxml.layers import conv
from tests import references
from tests._cpu.examples import example, example_with_gradients, with_gradients

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="oneDNN is for CPUs")


CASES = {
    "same": ((19, 8, 9, 5), (3, 3), 1, 1),
    "few images": ((3, 8, 9, 5), (3, 3), 1, 1),
    "uneven window": ((16, 7, 6, 3), (3, 2), 1, "SAME"),
    "strides": ((16, 9, 8, 3), (3, 3), 2, 1),
    "strides and an even window": ((16, 8, 9, 3), (4, 2), 2, "SAME"),
    "strides of the first layer": ((16, 14, 13, 3), (7, 7), 2, 3),
    "strides as long as the window": ((16, 9, 9, 3), (3, 3), 3, "VALID"),
    "strides with wide padding": ((16, 5, 6, 3), (2, 3), 2, 4),
    "strides that leave a row over": ((16, 8, 8, 3), (3, 3), 2, 0),
    "strides of 3": ((16, 11, 7, 3), (5, 4), 3, 2),
    "strides that leave pixels over": ((16, 8, 8, 3), (1, 1), 2, 0),
    "one pixel": ((16, 5, 4, 8), (1, 1), 1, 0),
    "one pixel, as many results": ((16, 3, 3, 8), (1, 1), 2, 1),
    "padding wider than the window": ((16, 6, 6, 2), (2, 2), 1, 3),
    "no padding": ((16, 8, 8, 3), (5, 5), 1, "VALID"),
    "as large as the image": ((16, 7, 7, 3), (7, 7), 1, "VALID"),
}


@pytest.mark.slow
@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize(("shape", "window", "strides", "padding"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("block_bytes", [None, 4 * 10 * 8 * 9 * 5], ids=["one block", "blocks"])
def test_values_and_gradients(monkeypatch, shape, window, strides, padding, block_bytes):
    if block_bytes:
        monkeypatch.setattr(_maps, "BLOCK_BYTES", block_bytes)
    x, kernel, cotangent, expected = example_with_gradients(shape, window, strides, padding)
    program = jax.jit(with_gradients(strides=strides, padding=padding)).lower(x, kernel, cotangent)
    assert "onednn" in program.as_text()
    # Roundings of a sum add up like a random walk.
    terms = [kernel[..., 0].size, kernel[..., 0, :].size, cotangent[..., 0].size]
    results = program.compile()(x, kernel, cotangent)
    for got, wanted, count in zip(results, expected, terms, strict=True):
        references.assert_close(got, wanted, max(1e-6, 2.0**-24 * count**0.5))


@pytest.mark.slow
@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("strides", [1, 2])
def test_derivatives_of_derivatives_are_those_of_xlas_convolution(strides):
    x, kernel = (jnp.asarray(array) for array in example((9, 4, 4, 2), (3, 3), out=2))

    def by_xla(x, kernel):
        axes = ("NHWC", "HWIO", "NHWC")
        pads = ((1, 1), (1, 1))
        return jax.lax.conv_general_dilated(
            x, kernel, (strides, strides), pads, dimension_numbers=axes
        )

    def curvature(conv):
        gradient = jax.grad(lambda x, kernel: jnp.sum(conv(x, kernel) ** 3), argnums=(0, 1))
        forward = jax.jvp(gradient, (x, kernel), (x + 1, kernel - 1))[1]
        backward = jax.grad(lambda *at: sum(jnp.sum(part**2) for part in gradient(*at)))
        return *forward, backward(x, kernel)

    ours = jax.jit(lambda: curvature(partial(conv, strides=strides, padding=1)))()
    for got, wanted in zip(ours, curvature(by_xla), strict=True):
        references.assert_close(got, wanted, 2e-6)


@pytest.mark.usefixtures("any_size")
def test_without_jit():
    x, kernel = map(jnp.asarray, example((9, 5, 5, 3), (3, 3)))
    cotangent = jnp.ones((9, 5, 5, 4))
    wanted = with_gradients()(x, kernel, cotangent)
    with jax.disable_jit():
        references.assert_trees_close(with_gradients()(x, kernel, cotangent), wanted, 2e-6)


@pytest.mark.usefixtures("any_size")
def test_each_device_convolves_its_part():
    x, kernel = map(jnp.asarray, example((8, 5, 5, 3), (3, 3)))
    parts, everywhere = PartitionSpec("data"), PartitionSpec()

    def loss(x, kernel):
        return jax.lax.psum(jnp.sum(conv(x, kernel) ** 2), "data")

    each = jax.shard_map(
        jax.value_and_grad(loss, argnums=(0, 1)),
        mesh=jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,)),
        in_specs=(parts, everywhere),
        out_specs=(everywhere, (parts, everywhere)),
    )
    wanted = jax.value_and_grad(lambda *a: jnp.sum(conv(*a) ** 2), argnums=(0, 1))(x, kernel)
    references.assert_trees_close(jax.jit(each)(x, kernel), wanted, 2e-6)


@pytest.mark.usefixtures("any_size")
def test_vmap_is_a_loop():
    x, kernel = example((2, 4, 5, 3), (3, 3))
    xs, kernels = np.stack([x, 2 * x, x - 1]), np.stack([kernel, 2 * kernel, kernel - 1])
    references.assert_vmap_is_loop(partial(conv, strides=2, padding=1), xs, kernels)
    references.assert_vmap_is_loop(lambda x: conv(x, jnp.asarray(kernel)), xs)
    references.assert_vmap_is_loop(lambda kernel: conv(jnp.asarray(x), kernel), kernels)


def lowered(*arrays, **settings):
    return jax.jit(lambda x, kernel: conv(x, kernel, **settings)).lower(*arrays).as_text()


@pytest.mark.usefixtures("any_size")
def test_other_dtypes_and_empty_results_are_for_xla():
    x, kernel = example((2, 5, 5, 3), (3, 3))
    assert "onednn" in lowered(x, kernel)
    assert "onednn" not in lowered(*(jnp.asarray(a, jnp.bfloat16) for a in (x, kernel)))
    assert "onednn" not in lowered(x[:0], kernel)
    assert "onednn" not in lowered(x[:, :, :2], kernel, padding="VALID")
    with jax.enable_x64(True):
        assert "onednn" not in lowered(*references.float64([x, kernel]))


@pytest.mark.usefixtures("any_size")
def test_an_export_does_not_call_it():
    x, kernel = map(jnp.asarray, example((2, 5, 5, 3), (3, 3)))
    assert "onednn" in lowered(x, kernel)
    exported = jax.export.export(jax.jit(lambda x, kernel: conv(x, kernel)))(x, kernel)
    assert "onednn" not in exported.mlir_module()
    references.assert_close(exported.call(x, kernel), conv(x, kernel), 1e-6)


def test_small_convolutions_and_their_gradients_are_for_xla():
    def calls(batch):
        x, kernel, cotangent = (
            jax.ShapeDtypeStruct(shape, jnp.float32)
            for shape in ((batch, 16, 16, 16), (3, 3, 16, 32), (batch, 8, 8, 32))
        )
        program = jax.jit(with_gradients(strides=2, padding=1)).lower(x, kernel, cotangent)
        return program.as_text().count("__onednn$convolution")

    least = _convolution.LEAST_PRODUCTS // (8 * 8 * 3 * 3 * 16 * 32)
    assert calls(least) == 0
    assert calls(least + 1) > 1


@pytest.mark.usefixtures("any_size")
def test_the_config_and_the_environment_switch_it_off(monkeypatch):
    x, kernel = example((2, 5, 5, 3), (3, 3))
    assert "onednn" in lowered(x, kernel)
    _cpu.configure(onednn=False)
    try:
        assert "onednn" not in lowered(x, kernel)
    finally:
        _cpu.configure(onednn=True)
    monkeypatch.setenv("JAXML_ONEDNN", "0")
    assert "onednn" not in lowered(x, kernel)
    monkeypatch.delenv("JAXML_ONEDNN")
    assert "onednn" in lowered(x, kernel)


@pytest.mark.usefixtures("any_size")
def test_a_machine_where_it_fails_does_not_call_it(monkeypatch):
    x, kernel = map(jnp.asarray, example((2, 5, 5, 3), (3, 3)))
    expected = conv(x, kernel)
    monkeypatch.setattr(_proof, "outcome", lambda name: _proof.Outcome("wrong", 0.0))
    assert "onednn" not in lowered(x, kernel)
    references.assert_close(jax.jit(lambda *a: conv(*a))(x, kernel), expected, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_an_export_with_a_symbolic_batch(platform):
    """The loss of a large convolution and its gradients."""
    (batch,) = jax.export.symbolic_shape("b")
    shapes = (batch, 16, 16, 16), (3, 3, 16, 16)
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    loss = jax.value_and_grad(
        lambda x, kernel: jnp.sum(conv(x, kernel, strides=2, padding=1) ** 2), argnums=(0, 1)
    )
    program = jax.export.export(jax.jit(loss), platforms=[platform])(*arguments)
    assert program.platforms == (platform,)
    assert str(program.in_avals[0].shape[0]) == "b"
    assert "onednn" not in program.mlir_module()
    if platform == "cpu":
        for size in (1, 9):
            x, kernel = example((size, 16, 16, 16), (3, 3), out=16)
            references.assert_trees_close(program.call(x, kernel), loss(x, kernel), 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2])
def test_images_smaller_than_the_kernel_take_a_matrix_product(size):
    x, kernel = example((4, size, size, 8), (3, 3))
    program = jax.make_jaxpr(partial(conv, padding=1))(x, kernel)
    names = {equation.primitive.name for equation in program.jaxpr.eqns}
    assert "dot_general" in names
    assert not names & {"conv_general_dilated", "conv_on_cpu"}
    expected = references.conv(*references.float64([x, kernel]), strides=1, pads=((1, 1), (1, 1)))
    y = conv(jnp.asarray(x), jnp.asarray(kernel), padding=1)
    references.assert_close(y, expected, 2e-6)
