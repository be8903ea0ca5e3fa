"""Convolution by oneDNN on several devices, and where XLA computes it instead."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxml._cpu import _convolution, _proof
from jaxml.layers import conv
from jaxml.training.compilation import TrainCall, compile_steps
from jaxml.training.experiment import create_experiment
from tests import references, tiny
from tests._cpu.examples import example, example_with_gradients, with_gradients

pytestmark = [
    pytest.mark.skipif(jax.default_backend() != "cpu", reason="oneDNN is for CPUs"),
    pytest.mark.usefixtures("any_size"),
]
ROOT = Path(__file__).parent.parent.parent
BATCH, EVERYWHERE = PartitionSpec("data"), PartitionSpec()
# shape of the images, window, strides, padding
CASES = {
    "same": ((16, 8, 9, 8), (3, 3), 1, 1),
    "few images": ((6, 8, 9, 5), (3, 3), 1, 1),
    "strides": ((18, 9, 8, 8), (3, 3), 2, 1),
    "one pixel": ((16, 5, 4, 8), (1, 1), 1, 0),
    "one pixel with strides": ((16, 8, 8, 8), (1, 1), 2, 0),
}


@pytest.fixture(scope="module")
def mesh():
    return jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))


def place(mesh, *arrays):
    """Places pairs of an array and a partition on a mesh."""
    return [jax.device_put(array, NamedSharding(mesh, spec)) for array, spec in arrays]


def calls(program):
    return program.as_text().count('custom_call_target="__onednn$convolution"')


def collectives(program):
    names = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter")
    return [name for name in names if f" {name}(" in program.as_text()]


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "window", "strides", "padding"), CASES.values(), ids=CASES)
def test_values_and_gradients(mesh, shape, window, strides, padding):
    x, kernel, cotangent, expected = example_with_gradients(shape, window, strides, padding)
    arrays = place(mesh, (x, BATCH), (kernel, EVERYWHERE), (cotangent, BATCH))
    call = with_gradients(strides=strides, padding=padding)
    program = jax.jit(call).lower(*arrays).compile()
    assert calls(program)
    assert collectives(program) == ["all-reduce"]
    results = program(*arrays)
    references.assert_trees_close(results, expected, 2e-6)
    assert [result.sharding.is_fully_replicated for result in results] == [False, False, True]


def test_derivatives_of_derivatives_are_those_of_one_device(mesh):
    x, kernel = example((16, 4, 4, 8), (3, 3), out=8)

    def curvature(x, kernel):
        def gradient(x, kernel):
            return jax.grad(lambda *at: jnp.sum(conv(*at) ** 3), argnums=(0, 1))(x, kernel)

        forward = jax.jvp(gradient, (x, kernel), (x + 1, kernel - 1))[1]
        backward = jax.grad(lambda *at: sum(jnp.sum(part**2) for part in gradient(*at)))
        return *forward, backward(x, kernel)

    arrays = place(mesh, (x, BATCH), (kernel, EVERYWHERE))
    program = jax.jit(curvature).lower(*arrays).compile()
    assert calls(program)
    with jax.default_matmul_precision("highest"):
        expected = jax.jit(curvature)(jnp.asarray(x), jnp.asarray(kernel))
    references.assert_trees_close(program(*arrays), expected, 2e-6)


def test_a_loop_of_recomputed_steps_with_a_donated_kernel(mesh):
    x, kernel = example((16, 6, 6, 8), (3, 3), out=8)

    def steps(kernel, x):
        def loss(kernel):
            hidden = jax.checkpoint(lambda kernel: jnp.tanh(conv(x, kernel, padding=1)))(kernel)
            return jnp.mean(conv(hidden, kernel, padding=1) ** 2)

        def step(kernel, _):
            value, gradient = jax.value_and_grad(loss)(kernel)
            return kernel - 0.1 * gradient, value

        return lax.scan(step, kernel, length=3)

    expected = jax.jit(steps)(jnp.asarray(kernel), jnp.asarray(x))
    arrays = place(mesh, (kernel, EVERYWHERE), (x, BATCH))
    program = jax.jit(steps, donate_argnums=0).lower(*arrays).compile()
    assert calls(program)
    assert collectives(program) == ["all-reduce"]
    references.assert_trees_close(program(*arrays), expected, 5e-6)
    assert arrays[0].is_deleted()


@pytest.mark.slow
def test_a_step_of_training_gathers_no_images():
    experiment = create_experiment(tiny.config())
    steps = compile_steps(experiment, [TrainCall(2)], init=False)
    program: Any = steps.train[TrainCall(2)]
    assert calls(program) > 5
    gathered = re.findall(r"\w+\[([\d,]*)\]\S* all-gather\(", program.as_text())
    assert gathered == ["478,10"]  # the logits, whose ranks are metrics


SHARDINGS = {
    "images": ("batch", "none", "batch"),
    "the first images": ("batch", "none", "none"),
    "the second images": ("none", "none", "batch"),
    "images and channels": ("batch", "channels", "batch"),
    "input channels": ("none", "input channels", "none"),
    "pixels": ("height", "none", "height"),
    "channels of all": ("channels", "input channels", "batch"),
    "an axis of one device": ("axis of one device", "none", "channels"),
}


@pytest.mark.slow
@pytest.mark.parametrize("names", SHARDINGS.values(), ids=SHARDINGS)
def test_other_shardings(names):
    x, kernel = example((16, 6, 6, 8), (3, 3), out=8)
    cotangent = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    mesh = jax.make_mesh((1, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
    specs = {
        "batch": (("a", "b"),),
        "axis of one device": ("a",),
        "height": (None, "b"),
        "channels": (None, None, None, "b"),
        "input channels": (None, None, "b"),
        "none": (),
    }
    chosen = zip((x, kernel, cotangent), names, strict=True)
    arrays = place(mesh, *((array, PartitionSpec(*specs[name])) for array, name in chosen))
    program = jax.jit(with_gradients(padding=1)).lower(*arrays).compile()
    assert calls(program)
    expected = with_gradients(padding=1)(*map(jnp.asarray, (x, kernel, cotangent)))
    references.assert_trees_close(program(*arrays), expected, 2e-6)


def test_a_mesh_with_explicit_axes():
    x, kernel = example((16, 6, 6, 8), (3, 3))
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))
    arrays = place(mesh, (x, BATCH), (kernel, EVERYWHERE))
    with jax.set_mesh(mesh):
        program = lowered(*arrays)
    assert calls(program)
    references.assert_close(program(*arrays), conv(jnp.asarray(x), jnp.asarray(kernel)), 2e-6)


def lowered(*arrays, **settings):
    return jax.jit(lambda x, kernel: conv(x, kernel, **settings)).lower(*arrays).compile()


def test_a_batch_that_devices_cannot_share_evenly_is_for_xla(mesh):
    x, kernel = example((17, 5, 5, 8), (3, 3))
    arrays = place(mesh, (x, EVERYWHERE), (kernel, EVERYWHERE))
    program = lowered(*arrays)
    assert not calls(program)
    references.assert_close(program(*arrays), conv(jnp.asarray(x), jnp.asarray(kernel)), 2e-6)
    assert calls(lowered(*place(mesh, (x[:16], EVERYWHERE), (kernel, EVERYWHERE))))


def test_without_jit(mesh):
    x, kernel = example((16, 5, 5, 8), (3, 3))
    arrays = place(mesh, (x, BATCH), (kernel, EVERYWHERE))
    y = conv(*arrays)
    assert isinstance(y.sharding, NamedSharding)
    assert y.sharding.spec == BATCH
    references.assert_close(y, conv(jnp.asarray(x), jnp.asarray(kernel)), 2e-6)


def test_vmap_is_for_xla(mesh):
    x, kernel = example((16, 5, 5, 8), (3, 3))
    xs, kernels = np.stack([x, 2 * x]), np.stack([kernel, kernel - 1])
    arrays = place(mesh, (xs, PartitionSpec(None, "data")), (kernels, EVERYWHERE))
    each = jax.jit(jax.vmap(conv)).lower(*arrays).compile()
    assert not calls(each)
    expected = [conv(jnp.asarray(x), jnp.asarray(k)) for x, k in zip(xs, kernels, strict=True)]
    references.assert_close(each(*arrays), np.stack(expected), 2e-6)


def test_an_export_for_devices_does_not_call_it(mesh):
    arrays = place(mesh, *zip(example((16, 5, 5, 8), (3, 3)), (BATCH, EVERYWHERE), strict=True))
    assert calls(lowered(*arrays))
    exported = jax.export.export(jax.jit(lambda x, kernel: conv(x, kernel)))(*arrays)
    assert exported.nr_devices == 2
    for name in ("onednn", "CustomSPMDPartitioning"):
        assert name not in exported.mlir_module()
    references.assert_close(jax.jit(exported.call)(*arrays), conv(*arrays), 2e-6)


def test_a_program_for_more_devices_than_there_are():
    mesh = jax.sharding.AbstractMesh((16,), ("data",), axis_types=(AxisType.Auto,))
    x, kernel = (
        jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=NamedSharding(mesh, spec))
        for array, spec in zip(example((16, 5, 5, 8), (3, 3)), (BATCH, EVERYWHERE), strict=True)
    )
    program = jax.jit(lambda x, kernel: conv(x, kernel)).trace(x, kernel)
    text = program.lower(lowering_platforms=("cpu",)).as_text()
    assert "mhlo.num_partitions = 16" in text
    assert "CustomSPMDPartitioning" not in text


def test_small_convolutions_are_for_xla(mesh, monkeypatch):
    products = 16 * 5 * 5 * 3 * 3 * 8 * 4  # images, pixels, taps, channels
    arrays = place(mesh, *zip(example((16, 5, 5, 8), (3, 3)), (BATCH, EVERYWHERE), strict=True))
    monkeypatch.setattr(_convolution, "LEAST_PRODUCTS", products // 2)
    assert calls(lowered(*arrays))
    monkeypatch.setattr(_convolution, "LEAST_PRODUCTS", products // 2 + 1)
    assert not calls(lowered(*arrays))


def test_a_machine_where_only_the_partition_fails(mesh, monkeypatch):
    x, kernel = example((16, 5, 5, 8), (3, 3))

    def outcome(name):
        return _proof.Outcome("wrong" if name == _proof.PARTITION else "", 0.0)

    monkeypatch.setattr(_proof, "outcome", outcome)
    assert calls(lowered(jnp.asarray(x), jnp.asarray(kernel)))
    assert not calls(lowered(*place(mesh, (x, BATCH), (kernel, EVERYWHERE))))


# Four devices, a batch over axes of a mesh of two dimensions; both partitioners of XLA.
PROGRAM = """
import jax, numpy as np
from functools import partial
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxml._cpu import _convolution
from jaxml.layers import conv

jax.config.update("jax_num_cpu_devices", 4)
_convolution.LEAST_PRODUCTS = 0
mesh = jax.make_mesh((2, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
rng = np.random.default_rng(0)
x, kernel = (rng.normal(size=shape).astype("f") for shape in ((32, 6, 6, 8), (3, 3, 8, 8)))

def place(array, *spec):
    return jax.device_put(array, NamedSharding(mesh, PartitionSpec(*spec)))

def gradients(x, kernel):
    y, vjp = jax.vjp(partial(conv, padding=1), x, kernel)
    return vjp(x + y)

expected = jax.jit(gradients)(x, kernel)
for shardy, axis in (True, "b"), (True, ("b", "a")), (False, "a"):
    jax.config.update("jax_use_shardy_partitioner", shardy)
    arguments = place(x, axis), place(kernel)
    program = jax.jit(gradients).lower(*arguments).compile()
    text = program.as_text()
    assert text.count('custom_call_target="__onednn$convolution"') >= 2, (shardy, axis)
    assert "all-gather(" not in text, (shardy, axis)
    for got, wanted in zip(program(*arguments), expected):
        assert np.abs(got - wanted).max() < 2e-6 * np.abs(wanted).max(), (shardy, axis)
"""


@pytest.mark.slow
def test_four_devices():
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, check=True)
