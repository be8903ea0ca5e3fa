"""Ways to run the same blocks: one by one, as a loop, computed anew; and stochastic depth."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.models import CifarResNet, CifarResNetV2, _stage
from jaxml.models._stage import Drop, add_residual, survival_probs

# Three blocks or more, so that there are identical neighbours; dropout and stochastic depth too.
NETWORKS = {
    "v1": CifarResNet(
        num_classes=3,
        blocks_per_stage=3,
        stage_features=(2,),
        survival_prob=0.5,
        keep_prob=0.8,
        dtype=jnp.float64,
    ),
    "v2": CifarResNetV2(
        num_classes=3,
        blocks_per_stage=3,
        stage_features=(2,),
        survival_prob=0.7,
        dtype=jnp.float64,
    ),
}
WAYS = {"loop": {"scan": True}, "anew": {"remat": True}, "both": {"scan": True, "remat": True}}


@cache
def everything(name, **options):
    """Logits, gradients and statistics of one network in float64, by one way to run it."""
    with jax.enable_x64(True):
        model = NETWORKS[name].clone(**options)
        images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3), jnp.float64)
        variables = jax.jit(partial(model.init, train=False))(jax.random.key(0), images)

        def loss(params):
            variables_ = {"params": params, "batch_stats": variables["batch_stats"]}
            logits, sown = model.apply(
                variables_,
                images,
                train=True,
                mutable=["batch_stats", "batch_moments", "intermediates"],
                rngs={"dropout": jax.random.key(2)},
            )
            return (logits**2).sum(), (logits, sown)

        return jax.device_get(jax.jit(jax.grad(loss, has_aux=True))(variables["params"]))


@pytest.fixture
def loops(monkeypatch):
    """Allows loops, as in a process with one device; the suite has two."""
    monkeypatch.setattr(_stage, "_loops_may_deadlock", lambda: False)


def _has_loop():
    model = NETWORKS["v1"].clone(scan=True, dtype=jnp.float32)
    images = jax.ShapeDtypeStruct((4, 8, 8, 3), jnp.float32)
    variables = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), images)
    apply = jax.jit(partial(model.apply, train=False))
    return "stablehlo.while" in apply.lower(variables, images).as_text()


def test_several_cpu_devices_have_no_loops():
    assert not _has_loop()


def test_a_single_device_has_a_loop(loops):
    assert _has_loop()


@pytest.mark.slow
@pytest.mark.usefixtures("loops")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_loop_and_computing_anew_change_nothing(name, way):
    plain, other = everything(name), everything(name, **WAYS[way])
    assert jax.tree.structure(plain) == jax.tree.structure(other)
    leaves = jax.tree_util.tree_leaves_with_path(plain)
    for (path, expected), got in zip(leaves, jax.tree.leaves(other), strict=True):
        # Parameters and statistics are float32, whatever the computation is.
        rtol = 1e-6 if expected.dtype == np.float32 else 1e-9
        scale = np.abs(expected).max()
        assert np.abs(got - expected).max() <= rtol * scale, jax.tree_util.keystr(path)


@pytest.mark.slow
def test_a_loop_makes_a_smaller_program():
    model = CifarResNet(num_classes=3, blocks_per_stage=8, stage_features=(2, 4))
    images = jnp.zeros((1, 8, 8, 3))
    variables = jax.eval_shape(partial(model.init, train=False), jax.random.key(0), images)
    convolutions = []
    for scan in (False, True):
        lowered = jax.jit(partial(model.clone(scan=scan).apply, train=False)).lower(
            variables, images
        )
        convolutions.append(lowered.as_text().count("stablehlo.convolution"))
    # The stem and 2 stages of 8 blocks of 2; of each stage, the first block and one for the others.
    assert convolutions == [33, 9]


def test_survival_falls_linearly_over_all_stages():
    assert survival_probs(1.0, [2, 1]) == [(1.0, 1.0), (1.0,)]
    np.testing.assert_allclose(np.concatenate(survival_probs(0.4, [1, 2])), [0.8, 0.6, 0.4])


def test_stochastic_depth_drops_the_residuals_of_examples_and_scales_the_others():
    x, residual = jnp.ones((64, 2, 2, 1)), jnp.full((64, 2, 2, 1), 0.5)
    y = np.asarray(add_residual(x, residual, Drop(jax.random.key(0), jnp.float32(0.25))))
    assert set(np.unique(y)) == {1.0, 3.0}
    assert (y == y[:, :1, :1]).all()
    # Of 64 with probability 1/4, so that four standard errors are 14.
    assert abs((y[:, 0, 0, 0] == 3).sum() - 16) < 14
    np.testing.assert_array_equal(add_residual(x, residual, None), np.full(x.shape, 1.5))


@pytest.mark.slow
def test_each_example_has_its_own_depth_in_training_and_all_of_it_in_evaluation():
    model = CifarResNet(num_classes=3, stage_features=(2, 4), survival_prob=0.2)
    image = jax.random.normal(jax.random.key(1), (1, 8, 8, 3))
    images = jnp.broadcast_to(image, (8, 8, 8, 3))
    variables = model.init(jax.random.key(0), images, train=False)
    apply = jax.jit(partial(model.apply, mutable=["batch_stats"]), static_argnames="train")
    trained, _ = apply(variables, images, train=True, rngs={"dropout": jax.random.key(3)})
    assert len(np.unique(np.asarray(trained)[:, 0])) > 2
    whole = model.clone(survival_prob=1.0)
    evaluated, _ = apply(variables, images, train=False)
    expected = jnp.asarray(whole.apply(variables, images, train=False))
    np.testing.assert_allclose(evaluated, expected, rtol=1e-5)
