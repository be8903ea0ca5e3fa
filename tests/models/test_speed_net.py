"""SpeedNet: comparison with torch, and its initialization."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models import SpeedNet, intermediate_shapes
from jaxml.models._speed_net import partial_dirac

MODEL = SpeedNet(num_classes=3, stage_features=(6, 8))


def variables_and_images():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(5, 9, 8, 4)).astype(np.float32)
    shapes = jax.eval_shape(lambda: MODEL.init(jax.random.key(0), images, train=False))
    draw = lambda leaf: rng.uniform(0.2, 1.5, leaf.shape).astype(np.float32)  # noqa: E731
    variables = jax.tree.map(draw, shapes)
    kernels = lambda path, leaf: leaf - 0.8 if path[-1].key == "kernel" else leaf  # noqa: E731
    return jax.tree_util.tree_map_with_path(kernels, variables), images


@pytest.mark.parametrize("train", [False, True])
def test_the_network_is_its_description_in_torch(train):
    torch = pytest.importorskip("torch")
    variables, images = variables_and_images()
    tensors = jax.tree.map(lambda leaf: torch.tensor(leaf).double(), variables)
    params, stats = tensors["params"], tensors["batch_stats"]
    functional, means = torch.nn.functional, {}

    def gelu(x):
        return functional.gelu(x, approximate="tanh")

    def unit(x, stage, number, *, pool):
        kernel = params[stage]["block1"][f"conv{number}"]["kernel"].permute(3, 2, 0, 1)
        x = functional.conv2d(x, kernel, None, 1, 1)
        x = functional.max_pool2d(x, 2) if pool else x
        norm = params[stage]["block1"][f"norm{number}"]
        assert set(norm) == {"bias"}
        own = stats[stage]["block1"][f"norm{number}"]
        means[stage, number], var = own["mean"].clone(), own["var"].clone()
        values = means[stage, number], var, None, norm["bias"]
        return gelu(functional.batch_norm(x, *values, train, momentum=0.4, eps=1e-5))

    x = torch.tensor(images).double().permute(0, 3, 1, 2)
    x = gelu(torch.cat([x, -x], 1) + params["bias"][:, None, None])
    for stage in ("stage1", "stage2"):
        x = unit(unit(x, stage, 1, pool=True), stage, 2, pool=False)
    assert x.shape == (5, 8, 2, 2)
    x = x.amax((2, 3)) @ params["head"]["kernel"] + params["head"]["bias"]
    run = jax.jit(lambda v, x: MODEL.apply(v, x, train=train, mutable=["batch_stats"]))
    logits, updated = run(variables, images)
    np.testing.assert_allclose(logits, x.numpy(), rtol=2e-5, atol=2e-5)
    for stage, number in product(("stage1", "stage2"), (1, 2)):
        found = updated["batch_stats"][stage]["block1"][f"norm{number}"]["mean"]
        np.testing.assert_allclose(found, means[stage, number].numpy(), rtol=2e-5, atol=2e-5)


def test_the_stages_halve_the_whitened_images_of_cifar():
    shapes = intermediate_shapes(SpeedNet(num_classes=10), (31, 31, 12))
    found = {name: shapes[name] for name in ("stage1", "stage2", "stage3", "features")}
    assert found == {
        "stage1": (15, 15, 64), "stage2": (7, 7, 256), "stage3": (3, 3, 256), "features": (256,)
    }  # fmt: skip


def test_images_of_a_single_pixel_are_classified():
    images = jnp.ones((2, 1, 1, 3))
    logits, _ = MODEL.init_with_output(jax.random.key(0), images, train=False)
    assert np.isfinite(logits).all()


def test_each_stage_begins_with_a_copy_of_its_input():
    images = jnp.zeros((1, 8, 8, 2))
    params = MODEL.init(jax.random.key(0), images, train=False)["params"]
    for stage, channels in (("stage1", 4), ("stage2", 6)):
        kernel = np.asarray(params[stage]["block1"]["conv1"]["kernel"])
        expected = np.zeros((3, 3, channels, channels))
        expected[1, 1] = np.eye(channels)
        np.testing.assert_array_equal(kernel[..., :channels], expected)


@pytest.mark.parametrize(("inputs", "outputs"), [(4, 6), (6, 4), (4, 4)])
def test_the_first_filters_copy_the_input(inputs, outputs):
    kernel = partial_dirac(jax.random.key(0), (3, 3, inputs, outputs))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5, 5, inputs)), jnp.float32)
    y = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    same = min(inputs, outputs)
    np.testing.assert_array_equal(y[..., :same], x[..., :same])
    if outputs > inputs:
        rest = kernel[..., same:]
        np.testing.assert_allclose(rest.std(), np.sqrt(2 / (9 * inputs)), rtol=0.3)
