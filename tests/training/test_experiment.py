"""A run on its devices: order, sharding, steps in one call, exact evaluation."""

import dataclasses

import jax
import numpy as np
import pytest
from PIL import Image

from jaxml.config import AverageConfig, DataConfig, LossConfig, ModelConfig, OptimConfig
from jaxml.data import Split
from jaxml.data.sources import idx
from jaxml.errors import InputError
from jaxml.io import memory
from jaxml.training import _validation
from jaxml.training.compilation import TrainCall, compile_steps, jit_steps, train_call, train_calls
from jaxml.training.evaluation import evaluate
from jaxml.training.experiment import create_experiment
from jaxml.training.initialize import initial_state
from tests import references, tiny


@pytest.fixture(scope="module")
def experiment():
    return create_experiment(tiny.config())


@pytest.fixture(scope="module")
def steps(experiment):
    return jit_steps(experiment, [TrainCall(1), TrainCall(3)])


def _order(experiment, steps, epoch):
    return steps.epoch_order(experiment.keys.order, experiment.replicate(epoch))


def _train(experiment, steps, state, *, epoch=0, num_steps=1):
    order = _order(experiment, steps, epoch)
    return steps.train[TrainCall(num_steps)](
        state, experiment.train_data, order, experiment.keys.step
    )[:2]


def _take(experiment, steps, count, *, per_call=1):
    """Takes steps of the first epoch; returns the state and the loss of each step."""
    state, losses = initial_state(experiment, steps), []
    for _ in range(0, count, per_call):
        state, metrics = _train(experiment, steps, state, num_steps=per_call)
        losses.append(np.asarray(metrics.loss))
    return state, np.concatenate(losses)


def _evaluate_first(config):
    """Evaluates the initial state of a run."""
    experiment = create_experiment(config)
    steps = jit_steps(experiment)
    return evaluate(experiment, steps, initial_state(experiment, steps))


def _assert_close(tree, other, **tolerance):
    leaves, others = jax.tree.leaves(tree), jax.tree.leaves(other)
    for a, b in zip(leaves, others, strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def test_the_run_is_over_all_devices(experiment):
    assert len(jax.devices()) == 2
    assert experiment.device == "2 x cpu"
    assert experiment.sizes.steps_per_epoch == 3  # floor(1437 / 478)
    assert experiment.sizes.num_steps == 12


@pytest.mark.slow
def test_two_devices_compute_what_one_does(experiment, steps, monkeypatch: pytest.MonkeyPatch):
    both, losses = _take(experiment, steps, 2)
    monkeypatch.setattr(jax, "devices", lambda: jax.local_devices()[:1])
    with jax.default_device(jax.local_devices()[0]):
        single = create_experiment(tiny.config())
        alone, alone_losses = _take(single, jit_steps(single), 2)
    assert len(jax.tree.leaves(both.params)[0].devices()) == 2
    assert len(jax.tree.leaves(alone.params)[0].devices()) == 1
    np.testing.assert_allclose(losses, alone_losses, rtol=1e-5)
    _assert_close(jax.device_get(both.params), jax.device_get(alone.params), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_steps_in_one_call_are_the_same_steps(experiment, steps):
    one_by_one, losses = _take(experiment, steps, 3)
    in_one_call, other_losses = _take(experiment, steps, 3, per_call=3)
    np.testing.assert_allclose(losses, other_losses, rtol=1e-5)
    _assert_close(one_by_one.params, in_one_call.params, rtol=1e-3, atol=1e-5)
    assert int(one_by_one.metrics.count) == int(in_one_call.metrics.count) == 3 * 478


@pytest.mark.slow
def test_the_sums_start_anew_with_each_epoch(experiment, steps):
    state, _ = _take(experiment, steps, 3)
    state, _ = _train(experiment, steps, state, epoch=1)
    assert int(state.metrics.count) == 478


@pytest.mark.parametrize("per_call", [1, 2, 3, 4, 10])
@pytest.mark.parametrize("image_sizes", [(), (4,), (4, 8), (4, 4, 6, 8)])
def test_the_calls_of_a_run_are_those_that_it_makes(experiment, per_call, image_sizes):
    sizes = experiment.sizes._replace(steps_per_epoch=10, num_steps=40, steps_per_call=per_call)
    config = tiny.config(data=DataConfig(progressive_sizes=image_sizes))
    experiment = dataclasses.replace(experiment, sizes=sizes, config=config)
    for first in range(41):
        step, expected = first, set()
        while step < 40:
            count = min(per_call, 10 - step % 10)
            phase = step * len(image_sizes) // 40
            size = image_sizes[phase] if image_sizes else None
            assert train_call(experiment, step) == (count, size)
            expected.add(TrainCall(count, size))
            step += count
        assert train_calls(experiment, first) == expected


def test_balanced_epochs_have_as_many_examples_of_each_class():
    experiment = create_experiment(tiny.config(data=DataConfig(balanced=True)))
    order = np.asarray(_order(experiment, jit_steps(experiment), 2))
    counts = np.bincount(experiment.train_labels[order])
    assert len(order) == 1437
    assert np.ptp(counts) == 1
    assert np.ptp(np.bincount(experiment.train_labels)) > 1


@pytest.mark.slow
def test_images_are_resized_in_training_and_not_in_evaluation():
    experiment = create_experiment(tiny.config(data=DataConfig(progressive_sizes=(4, 8))))
    steps = jit_steps(experiment)
    assert set(steps.train) == {TrainCall(1, 4), TrainCall(1, 8)}
    state = initial_state(experiment, steps)
    order = np.asarray(_order(experiment, steps, 0))
    images, labels = (np.asarray(array)[order[:478]] for array in experiment.train_data)
    small = [
        np.asarray(Image.fromarray(image[:, :, 0]).resize((4, 4), Image.Resampling.BILINEAR))
        for image in images
    ]
    inputs = references.per_image_standardization(np.stack(small)[..., None] / 255)
    variables = references.float64(jax.device_get((state.params, state.batch_stats)))
    logits = references.Network(*variables, train=True)(inputs)
    losses = references.softmax_cross_entropy(logits, labels)
    arguments = experiment.train_data, order, experiment.keys.step
    _, metrics, _ = steps.train[TrainCall(1, 4)](state, *arguments)
    assert float(metrics.loss[0]) == pytest.approx(losses.sum(), rel=1e-3)


@pytest.mark.slow
def test_evaluation_counts_each_image_once(experiment, steps):
    metrics = evaluate(experiment, steps, initial_state(experiment, steps))
    assert metrics["count"] == 360  # 200 and a ragged 160
    other = _evaluate_first(tiny.config(eval_batch_size=360))
    assert metrics["accuracy"] == other["accuracy"]
    assert metrics["top5_accuracy"] == other["top5_accuracy"]
    assert metrics["loss"] == pytest.approx(other["loss"], rel=1e-6)


def test_seeds_differ(experiment, steps):
    other = create_experiment(tiny.config(seed=1))
    others = jit_steps(other)
    assert not np.array_equal(_order(experiment, steps, 0), _order(other, others, 0))
    states = initial_state(experiment, steps), initial_state(other, others)
    a, b = (jax.tree.leaves(state.params["stem_conv"])[0] for state in states)
    assert not np.array_equal(a, b)


@pytest.mark.slow
def test_the_held_out_images_are_evaluated():
    config = tiny.config(data=DataConfig(validation_size=100))
    experiment = create_experiment(config)
    assert experiment.eval_split == "validation"
    assert experiment.sizes.steps_per_epoch == 2  # floor(1337 / 478)
    assert _evaluate_first(config)["count"] == 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 1438}, "config.batch_size must be at most 1437, .*, got 1438"),
        ({"batch_size": 3}, "config.batch_size must be a multiple of 2, .* devices, got 3"),
        ({"eval_batch_size": 1}, "config.eval_batch_size must be a multiple of 2, .*, got 1"),
        (
            {"data": DataConfig(validation_size=1437)},
            r"config.data.validation_size must be in \[0, 1437\)",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        create_experiment(tiny.config(**changes))


def test_unknown_names_are_answered_with_what_there_is():
    config = tiny.config()
    config.model.name = "resnet21v1"
    with pytest.raises(InputError, match=r"config\.model\.name must be one of .*resnet20v1"):
        create_experiment(config)
    config = tiny.config()
    config.data.name = "cifar"
    with pytest.raises(InputError, match=r"config\.data\.name must be one of .*cifar100"):
        create_experiment(config)


@pytest.mark.slow
def test_the_mean_network_is_evaluated_by_statistics_of_its_own(tmp_path):
    tiny.write_set(tmp_path, train=24, test=8)
    config = tiny.config(
        batch_size=8,
        eval_batch_size=8,
        num_epochs=2,
        data=DataConfig(name="idx", dir=str(tmp_path), normalization="unit"),
        average=AverageConfig(name="swa", start=0.0),
    )
    experiment = create_experiment(config)
    steps = jit_steps(experiment)
    state, ends = initial_state(experiment, steps), []
    for epoch in range(2):
        for _ in range(3):
            state, _ = _train(experiment, steps, state, epoch=epoch)
        ends.append(references.float64(jax.device_get(state.params)))
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *ends)
    train, test = (Split(*part) for part in idx.load(tmp_path)[:2])
    zeros = jax.tree.map(np.zeros_like, references.float64(jax.device_get(state.batch_stats)))
    batches = np.asarray(_order(experiment, steps, 0)).reshape(3, 8)
    statistics = zeros
    for batch in batches:
        network = references.Network(mean, zeros, train=True)
        network(train.inputs[batch] / 255)
        # The network moves its statistics from 0 by a tenth of the batch's.
        statistics = jax.tree.map(lambda a, b: a + 10 * b / 3, statistics, network.statistics)
    logits = references.Network(mean, statistics, train=False)(test.inputs / 255)
    losses = references.softmax_cross_entropy(logits, test.targets)
    assert evaluate(experiment, steps, state)["loss"] == pytest.approx(losses.mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data": DataConfig(name="diabetes", normalization="per_channel")},
            "config.loss.name must be a loss for real targets, .*, got 'softmax_cross_entropy'",
        ),
        (
            {"data": DataConfig(name="breast_cancer", normalization="per_channel")},
            r"config.model.name must accept examples of shape \(30,\), .*, got 'resnet_tiny'",
        ),
        (
            {"data": DataConfig(normalization="pca")},
            r"must accept examples of shape \(64,\), the shape of digits after .*=pca, got ",
        ),
        (
            {
                "data": DataConfig(
                    name="breast_cancer", normalization="per_channel", augment=("flip",)
                ),
            },
            r"config.data.augment must be \(\) for breast_cancer, which has no images, got ",
        ),
        (
            {
                "data": DataConfig(
                    name="breast_cancer", normalization="per_channel", progressive_sizes=(4,)
                ),
            },
            r"config.data.progressive_sizes must be \(\) for breast_cancer, which has no images, ",
        ),
        (
            {
                "data": DataConfig(name="breast_cancer", normalization="per_channel"),
                "eval_flip": True,
            },
            "config.eval_flip must be False for breast_cancer, which has no images, got True",
        ),
        (
            {"data": DataConfig(progressive_sizes=(4, 5, 6, 7, 8))},
            "config.data.progressive_sizes must have at most 4 sizes, one for each epoch, got 5",
        ),
        (
            {
                "data": DataConfig(progressive_sizes=(4,)),
                "model": ModelConfig(name="resnet_tiny", head="fc"),
            },
            "config.data.progressive_sizes must suit resnet_tiny and .*=per_image, got 4: ",
        ),
        (
            {
                "data": DataConfig(progressive_sizes=(4,), normalization="pca"),
                "model": ModelConfig(name="mlp"),
            },
            "config.data.progressive_sizes must suit mlp and .*=pca, got 4: ",
        ),
        (
            {
                "data": DataConfig(name="diabetes", normalization="per_channel", balanced=True),
                "loss": LossConfig(name="squared_error"),
                "model": ModelConfig(name="mlp"),
            },
            "config.data.balanced must be false for diabetes, which has no classes, got true",
        ),
        (
            {"data": DataConfig(name="breast_cancer", normalization="per_image")},
            "config.data.normalization must suit features, because .*, got 'per_image'",
        ),
        *[
            (
                {"data": DataConfig(augment=(f"crop:padding={padding}",))},
                "config.data.augment must pad crops by less than the height and width of the "
                f"images, 8x8, got crop:padding={padding}",
            )
            for padding in (8, 10**9, 10**20)
        ],
        (
            {"optim": OptimConfig(warmup_epochs=1e300)},
            "config.optim.warmup_epochs must be at most 2147483647 steps, got .* epochs of 14",
        ),
        ({"profile": "50:57"}, "config.profile must end at step 56 or before, .*, got '50:57'"),
        ({"num_epochs": 10**12}, r"config.num_epochs must .* at most 2147483647 steps, got 10{12}"),
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
            r"config.batch_size must be a multiple of 2, .*, got 1437 \(the whole training set\)",
        ),
    ],
)
def test_what_does_not_go_together_is_told(changes, message):
    with pytest.raises(InputError, match=message):
        create_experiment(tiny.config(**{"batch_size": 100, **changes}))


@pytest.mark.slow
def test_an_evaluation_batch_larger_than_the_set_takes_no_more_memory():
    config = tiny.config(eval_batch_size=10**9)
    assert create_experiment(config).sizes.eval_batch_size == 360
    assert _evaluate_first(config)["count"] == 360


@pytest.mark.parametrize("name", ["pca", "zca"])
def test_a_set_that_cannot_be_whitened_is_told_with_the_setting(tmp_path, monkeypatch, name):
    tiny.write_set(tmp_path / "set", train=2, test=2)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(_validation, "check_batch_sizes", lambda *_: None)  # one on two devices
    data = DataConfig(name="idx", dir="~/set", normalization=name, validation_size=1)
    message = f"config.data.normalization must suit idx, got {name!r}: .*at least 2 examples"
    with pytest.raises(InputError, match=message):
        create_experiment(tiny.config(batch_size=1, data=data))


def test_a_run_without_compilation_is_refused():
    with jax.disable_jit(), pytest.raises(InputError, match="JAX_DISABLE_JIT must be 0, got 1"):
        create_experiment(tiny.config())


@pytest.mark.slow
def test_what_does_not_fit_in_memory_is_refused_before_it_is_allocated(experiment, monkeypatch):
    state = memory.of_arrays(experiment.abstract_state)
    monkeypatch.setattr(memory, "of_program", lambda compiled: 1)
    monkeypatch.setattr(memory, "available_on", lambda devices: state - 1)
    with pytest.raises(InputError, match="config: the state of resnet_tiny must fit in the avail"):
        create_experiment(tiny.config())
    monkeypatch.setattr(memory, "available_on", lambda devices: state)
    compile_steps(experiment, [TrainCall(1)], init=False)  # the state is there already
    with pytest.raises(InputError, match="config: a step with the state of resnet_tiny must fit"):
        compile_steps(experiment, [TrainCall(1)], init=True)
