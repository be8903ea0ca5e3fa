"""The same run on one, two and eight devices, with a replicated and a sharded state."""

import json
import os
import shutil
from typing import Any

import jax
import numpy as np
import pytest

from jaxml.config import MeshConfig
from jaxml.errors import InputError
from jaxml.training import restore, sharding, trained
from jaxml.training._checkpoint_file import read
from jaxml.training.checkpoint import Checkpoints
from jaxml.training.compilation import TrainCall, jit_steps, train_arguments
from jaxml.training.experiment import create_experiment
from jaxml.training.export import export_weights
from jaxml.training.loop import train_and_evaluate
from jaxml.training.prediction import predict
from tests import quick_compilation, tiny
from tests.launch import processes
from tests.training import many_devices

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The folder of the runs on eight devices."""
    folder = tmp_path_factory.mktemp("devices")
    flags = quick_compilation.environment().get("XLA_FLAGS", "")
    count = f"--xla_force_host_platform_device_count={many_devices.COUNT}"
    environment = {
        "XLA_FLAGS": f"{flags} {count}".strip(),
        "JAXML_ONEDNN": "0",
        "JAX_COMPILATION_CACHE_DIR": os.environ["JAXML_TESTS_CACHE"],
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    done = processes.run("tests.training.many_devices", folder, environment=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture
def shards_small_arrays(monkeypatch):
    monkeypatch.setattr(sharding, "LEAST_SIZE", many_devices.LEAST_SIZE)


def _newest(run):
    """Returns the arrays of the last checkpoint of a run."""
    checkpoints = Checkpoints(run / "checkpoints")
    return read(checkpoints.path(checkpoints.steps()[-1]))


def _assert_close(arrays, expected):
    """Compares states after a few steps; the loss is a sum over an epoch."""
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        rtol = 1e-5 if name == ".metrics.loss" else 0
        np.testing.assert_allclose(array, expected[name], rtol=rtol, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(("count", "fsdp"), [*many_devices.MESHES[1:], (8, 8)])
def test_all_meshes_take_the_same_steps(results, count, fsdp):
    one = dict(np.load(results / "1 1.npz"))
    order = one.pop("order")
    if fsdp == many_devices.COUNT:
        other = _newest(results / "run")
    else:
        other = dict(np.load(results / f"{count} {fsdp}.npz"))
        np.testing.assert_array_equal(other.pop("order"), order)
    _assert_close(other, one)


def test_all_meshes_count_the_same_examples(results):
    metrics = json.loads((results / "metrics.json").read_text())
    whole = json.loads((results / "run/result.json").read_text())
    counts = [(found["count"], found["accuracy"]) for found in metrics.values()]
    assert len(counts) == len(many_devices.MESHES)
    assert {*counts, (whole["test_count"], whole["test_accuracy"])} == {(360, counts[0][1])}


@pytest.mark.parametrize("fsdp", [1, 2])
def test_a_checkpoint_of_eight_devices_resumes_on_two(results, tmp_path, fsdp, shards_small_arrays):
    run = tmp_path / "run"
    shutil.copytree(results / "run", run)
    (run / "result.json").unlink()
    for path in (run / "checkpoints").iterdir():
        if int(path.stem) > 3:  # within the second epoch
            path.unlink()
    result = train_and_evaluate(many_devices.config(fsdp), run)
    whole = json.loads((results / "run/result.json").read_text())
    assert [segment["device"] for segment in result["segments"]] == ["8 x cpu", "2 x cpu"]
    assert result["test_accuracy"] == whole["test_accuracy"]
    assert result["test_loss"] == pytest.approx(whole["test_loss"], rel=1e-5)
    _assert_close(_newest(run), _newest(results / "run"))


def test_a_sharded_run_is_evaluated_used_and_exported_on_fewer_devices(
    results, tmp_path, shards_small_arrays
):
    run, whole = results / "run", json.loads((results / "run/result.json").read_text())
    restored = restore.restore_checkpoint(run, "newest")
    assert restored.experiment.config.mesh.fsdp == 2
    kernel = restored.state.params["head"]["kernel"]
    assert kernel.sharding.shard_shape(kernel.shape) == (8, 5)
    metrics = restore.evaluate_checkpoint(run, "newest")
    assert metrics["accuracy"] == whole["test_accuracy"]
    images = np.asarray(restored.experiment.eval_data.inputs)[:5]
    network = trained.load_network(run)
    expected = [one.values for one in predict(network, images)]
    again = trained.network_of(restored, run)
    assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves(again.variables))
    for one, values in zip(predict(again, images), expected, strict=True):
        np.testing.assert_allclose(one.values, values, atol=1e-6)
    mean = trained.load_network(run, "5,6")
    assert np.isfinite(np.stack([one.values for one in predict(mean, images)])).all()
    assert f"{whole['test_accuracy']:.6g}" in export_weights(run, tmp_path / "x.safetensors")


def test_a_step_keeps_its_state_sharded_and_donates_it(shards_small_arrays):
    sizes = {}
    for fsdp in (1, 2):
        experiment = create_experiment(tiny.config(mesh=MeshConfig(fsdp=fsdp)))
        step: Any = jit_steps(experiment, [TrainCall(1)]).train[TrainCall(1)]
        compiled = step.lower(*train_arguments(experiment, 1)).compile()
        state = jax.tree.leaves(experiment.abstract_state)
        held = sum(
            np.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in state
        )
        sizes[fsdp] = int(held), sum(leaf.size * leaf.dtype.itemsize for leaf in state)
        assert compiled.memory_analysis().alias_size_in_bytes == held
    assert sizes[1][0] == sizes[1][1] == sizes[2][1]
    assert sizes[2][0] < 0.6 * sizes[2][1]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((64, 128), (None, "fsdp")),
        ((128, 64), ("fsdp", None)),
        ((64, 64), (None, "fsdp")),
        ((9, 512), (None, "fsdp")),
        ((9, 513), ()),
        ((4096,), ()),
        ((8, 8), ()),
    ],
)
def test_the_largest_dimension_that_divides_is_sharded(shape, expected):
    assert tuple(sharding.partition(shape, 4)) == expected
    assert tuple(sharding.partition(shape, 1)) == ()


def test_the_number_of_devices_must_be_a_multiple():
    with pytest.raises(InputError) as caught:
        create_experiment(tiny.config(mesh=MeshConfig(fsdp=3)))
    assert str(caught.value) == ("config.mesh.fsdp must divide 2, the number of devices, got 3")
