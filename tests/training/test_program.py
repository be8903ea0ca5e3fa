"""A run on its devices: order, sharding, steps in one call, exact evaluation."""

import jax
import numpy as np
import pytest

from jaxml.config import AverageConfig, DataConfig, OptimConfig
from jaxml.data import Split
from jaxml.data.sources import idx
from jaxml.errors import InputError
from jaxml.io import memory
from jaxml.training import program as program_module
from jaxml.training.program import Program
from tests import references, tiny


@pytest.fixture(scope="module")
def program():
    return Program(tiny.config())


def _take(program, steps, *, per_call=1, state=None):
    state = program.initial_state() if state is None else state
    order, losses = program.order(0), []
    for _ in range(0, steps, per_call):
        state, metrics = program.train(state, order, per_call)
        losses.append(np.asarray(metrics.loss))
    return state, np.concatenate(losses)


def _assert_close(tree, other, **tolerance):
    leaves, others = jax.tree.leaves(tree), jax.tree.leaves(other)
    for a, b in zip(leaves, others, strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def test_the_run_is_over_all_devices(program):
    assert len(jax.devices()) == 2
    assert program.device == "2 x cpu"
    assert program.steps_per_epoch == 3  # floor(1437 / 478)
    assert program.num_steps == 12


def test_two_devices_compute_what_one_does(program, monkeypatch: pytest.MonkeyPatch):
    both, losses = _take(program, 2)
    monkeypatch.setattr(jax, "devices", lambda: jax.local_devices()[:1])
    with jax.default_device(jax.local_devices()[0]):
        monkeypatch.setattr(
            jax, "make_mesh", lambda *_, **__: jax.sharding.Mesh(jax.local_devices()[:1], ("data",))
        )
        alone, alone_losses = _take(Program(tiny.config()), 2)
    assert len(jax.tree.leaves(both.params)[0].devices()) == 2
    assert len(jax.tree.leaves(alone.params)[0].devices()) == 1
    np.testing.assert_allclose(losses, alone_losses, rtol=1e-5)
    _assert_close(jax.device_get(both.params), jax.device_get(alone.params), rtol=1e-3, atol=1e-5)


def test_steps_in_one_call_are_the_same_steps(program):
    one_by_one, losses = _take(program, 3)
    in_one_call, other_losses = _take(program, 3, per_call=3)
    np.testing.assert_allclose(losses, other_losses, rtol=1e-5)
    _assert_close(one_by_one.params, in_one_call.params, rtol=1e-3, atol=1e-5)
    assert int(one_by_one.metrics.count) == int(in_one_call.metrics.count) == 3 * 478


def test_the_sums_start_anew_with_each_epoch(program):
    state, _ = _take(program, 3)
    state, _ = program.train(state, program.order(1), 1)
    assert int(state.metrics.count) == 478


def test_evaluation_counts_each_image_once(program):
    state = program.initial_state()
    metrics = program.evaluate(state)
    assert metrics["count"] == 360  # 200 and a ragged 160
    other = Program(tiny.config(eval_batch_size=360)).evaluate(state)
    assert metrics["accuracy"] == other["accuracy"]
    assert metrics["top5_accuracy"] == other["top5_accuracy"]
    assert metrics["loss"] == pytest.approx(other["loss"], rel=1e-6)


def test_seeds_differ(program):
    other = Program(tiny.config(seed=1))
    assert not np.array_equal(program.order(0), other.order(0))
    a, b = (jax.tree.leaves(p.initial_state().params["stem_conv"])[0] for p in (program, other))
    assert not np.array_equal(a, b)


def test_the_held_out_images_are_evaluated():
    program = Program(tiny.config(data=DataConfig(validation_size=100)))
    assert program.eval_split == "validation"
    assert program.steps_per_epoch == 2  # floor(1337 / 478)
    assert program.evaluate(program.initial_state())["count"] == 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 1438}, "config.batch_size: 1438 is not allowed, the training set has 1437"),
        ({"batch_size": 3}, "config.batch_size: 3 is not allowed, it must be a multiple of the 2"),
        ({"eval_batch_size": 1}, "config.eval_batch_size: 1 is not allowed, it must be a multiple"),
        (
            {"data": DataConfig(validation_size=1437)},
            "config.data.validation_size must be in [0, 1437)",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        Program(tiny.config(**changes))


def test_unknown_names_are_answered_with_what_there_is():
    config = tiny.config()
    config.model.name = "resnet21v1"
    with pytest.raises(InputError, match=r"config\.model\.name must be one of .*resnet20v1"):
        Program(config)
    config = tiny.config()
    config.data.name = "cifar"
    with pytest.raises(InputError, match=r"config\.data\.name must be one of .*cifar100"):
        Program(config)


def test_the_mean_network_is_evaluated_by_statistics_of_its_own(tmp_path):
    tiny.write_set(tmp_path, train=24, test=8)
    config = tiny.config(
        batch_size=8,
        eval_batch_size=8,
        num_epochs=2,
        data=DataConfig(name="idx", dir=str(tmp_path), normalization="unit"),
        average=AverageConfig(name="swa", start=0.0),
    )
    program = Program(config)
    state, ends = program.initial_state(), []
    for epoch in range(2):
        order = program.order(epoch)
        for _ in range(3):
            state, _ = program.train(state, order, 1)
        ends.append(references.float64(jax.device_get(state.params)))
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *ends)
    train, test = (Split(*part) for part in idx.load(tmp_path)[:2])
    zeros = jax.tree.map(np.zeros_like, references.float64(jax.device_get(state.batch_stats)))
    batches = np.asarray(program.order(0)).reshape(3, 8)
    statistics = zeros
    for batch in batches:
        network = references.Network(mean, zeros, train=True)
        network(train.inputs[batch] / 255)
        # The network moves its statistics from 0 by a tenth of the batch's.
        statistics = jax.tree.map(lambda a, b: a + 10 * b / 3, statistics, network.statistics)
    logits = references.Network(mean, statistics, train=False)(test.inputs / 255)
    losses = references.softmax_cross_entropy(logits, test.targets)
    assert program.evaluate(state)["loss"] == pytest.approx(losses.mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data": DataConfig(name="diabetes", normalization="per_channel")},
            "config.loss.name: 'softmax_cross_entropy' is not for real targets; what is: ",
        ),
        (
            {"data": DataConfig(name="breast_cancer", normalization="per_channel")},
            r"config.model.name: resnet_tiny takes images, and breast_cancer after .* \(30,\)",
        ),
        (
            {"data": DataConfig(normalization="pca")},
            r"resnet_tiny takes images, and digits after .*=pca has examples of shape \(64,\)",
        ),
        (
            {"data": DataConfig(name="breast_cancer", normalization="per_channel", flip=True)},
            "config.data.flip: True is not allowed, breast_cancer has no images",
        ),
        (
            {"data": DataConfig(name="breast_cancer", normalization="per_image")},
            "config.data.normalization: per_image is not for breast_cancer",
        ),
        *[
            (
                {"data": DataConfig(crop_padding=padding)},
                "config.data.crop_padding must be less than the height and width of the images, "
                f"8x8, got {padding}",
            )
            for padding in (8, 10**9, 10**20)
        ],
        (
            {"optim": OptimConfig(warmup_epochs=1e300)},
            "config.optim.warmup_epochs must be at most 2147483647 steps, got .* epochs of 14",
        ),
        ({"profile": "50:57"}, "config.profile: '50:57' is not allowed, the run has 56 steps"),
        ({"num_epochs": 10**12}, r"config.num_epochs: 10{12} is not allowed, it makes 14"),
        (
            {"optim": OptimConfig(accumulate_steps=999)},
            "config.optim.accumulate_steps must be at most the 56 steps of the run, got 999",
        ),
        (
            {"average": AverageConfig(name="lookahead", sync_period=57)},
            "config.average.sync_period must be at most the 56 updates of the run, got 57",
        ),
        (
            {"batch_size": None},
            "config.batch_size: 1437 .the whole set. is not allowed, it must be a multiple of",
        ),
    ],
)
def test_what_does_not_go_together_is_told(changes, message):
    with pytest.raises(InputError, match=message):
        Program(tiny.config(**{"batch_size": 100, **changes}))


def test_an_evaluation_batch_larger_than_the_set_takes_no_more_memory():
    program = Program(tiny.config(eval_batch_size=10**9))
    assert program.evaluate(program.initial_state())["count"] == 360


@pytest.mark.parametrize("name", ["pca", "zca"])
def test_a_set_that_cannot_be_whitened_is_told_with_the_setting(tmp_path, monkeypatch, name):
    tiny.write_set(tmp_path / "set", train=2, test=2)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(program_module, "_check_sizes", lambda *_: None)  # one on two devices
    data = DataConfig(name="idx", dir="~/set", normalization=name, validation_size=1)
    message = f"config.data.normalization: {name} cannot be fitted to idx, .*at least 2 examples"
    with pytest.raises(InputError, match=message):
        Program(tiny.config(batch_size=1, data=data))


def test_a_run_without_compilation_is_refused():
    with jax.disable_jit(), pytest.raises(InputError, match="JAX_DISABLE_JIT must be 0, got 1"):
        Program(tiny.config())


def test_what_does_not_fit_in_memory_is_refused_before_it_is_allocated(program, monkeypatch):
    state = memory.of_arrays(program.abstract_state())
    monkeypatch.setattr(memory, "of_program", lambda compiled: 1)
    monkeypatch.setattr(memory, "available_on", lambda devices: state - 1)
    with pytest.raises(InputError, match="config: the state of resnet_tiny must fit in the avail"):
        Program(tiny.config())
    monkeypatch.setattr(memory, "available_on", lambda devices: state)
    program.compile(initial=False)  # the state is there already
    with pytest.raises(InputError, match="config: a step with the state of resnet_tiny must fit"):
        program.compile(initial=True)
