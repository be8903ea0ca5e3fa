"""Several processes train as one does, on this machine."""

import contextlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxml.data import stream
from jaxml.errors import InputError
from jaxml.training import _checkpoint_file as checkpoint_file
from jaxml.training import checkpoint, hosts
from jaxml.training.checkpoint import Checkpoints, CheckpointWriter
from jaxml.training.compilation import jit_steps
from jaxml.training.experiment import create_experiment
from jaxml.training.loop import train_and_evaluate
from tests import quick_compilation
from tests.data.sources import formats
from tests.launch import jobs
from tests.training import hosts_worker

ROOT = Path(__file__).parent.parent.parent


def run(task, *, count=1, devices=1, **options):
    """Runs a task of the worker in several processes."""
    environment = {
        **os.environ,
        **quick_compilation.environment(),
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "JAX_COMPILATION_CACHE_DIR": os.environ["JAXML_TESTS_CACHE"],
    }
    options = {**options, "port": jobs.free_port(), "count": count, "devices": devices}
    command = [sys.executable, "-m", "tests.training.hosts_worker", task]
    processes = [
        subprocess.Popen(
            [*command, json.dumps({**options, "process": process})],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for process in range(count)
    ]
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * count, "\n".join(outputs)
    return outputs


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 26 training and 7 evaluation images."""
    folder = tmp_path_factory.mktemp("photos")
    formats.write_folder(folder, "train", formats.examples(26, size=10))
    formats.write_folder(folder, "val", formats.examples(7, seed=1, size=10))
    return str(folder)


def _arrays(workdir, step):
    return checkpoint_file.read(Checkpoints(workdir / "checkpoints").path(step))


def _assert_near(workdir, other, step):
    found, expected = _arrays(workdir, step), _arrays(other, step)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5, err_msg=name)


def _read(workdir, count):
    """The examples of each step, those of all processes one after the other."""
    parts = [
        json.loads((workdir / f"read.{count}.{process}.json").read_text())
        for process in range(count)
    ]
    return [list(itertools.chain(*step)) for step in zip(*parts, strict=True)]


def _order(photos, steps):
    experiment = create_experiment(hosts_worker.config(photos, 1))
    order = jit_steps(experiment).epoch_order
    draws = stream.draw_steps(
        lambda epoch: np.asarray(order(experiment.keys.order, experiment.replicate(epoch))),
        steps,
        steps_per_epoch=experiment.sizes.steps_per_epoch,
        batch_size=8,
        part=slice(0, 8),
    )
    return [[draw.example for draw in step] for step in draws]


@pytest.mark.slow
def test_two_processes_train_as_one(photos, tmp_path):
    train_and_evaluate(hosts_worker.config(photos, 1), tmp_path / "one")
    outputs = run("train", workdir=str(tmp_path / "two"), photos=photos, num_epochs=1, count=2)
    _assert_near(tmp_path / "two", tmp_path / "one", 3)
    assert _read(tmp_path / "two", 2) == _order(photos, range(3))
    assert "epoch 1/1" in outputs[0]
    assert "epoch" not in outputs[1]
    files = sorted(path.name for path in (tmp_path / "two/checkpoints").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "one/checkpoints").iterdir())


@pytest.mark.large
def test_a_run_resumes_with_fewer_processes(photos, tmp_path):
    run("train", workdir=str(tmp_path / "one"), photos=photos, num_epochs=3, devices=4)
    for count, num_epochs in ((4, 1), (2, 2), (1, 3)):
        options = {"count": count, "devices": 4 // count, "num_epochs": num_epochs}
        run("train", workdir=str(tmp_path / "run"), photos=photos, **options)
        first = 3 * (num_epochs - 1)
        assert _read(tmp_path / "run", count) == _order(photos, range(first, first + 3))
    _assert_near(tmp_path / "run", tmp_path / "one", 9)
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [3, 3, 6, 6, 9, 9]


@pytest.mark.large
def test_four_processes_train_as_one(photos, tmp_path):
    run("train", workdir=str(tmp_path / "one"), photos=photos, num_epochs=2, devices=4)
    run("train", workdir=str(tmp_path / "four"), photos=photos, num_epochs=2, count=4)
    _assert_near(tmp_path / "four", tmp_path / "one", 6)
    run("save", workdir=str(tmp_path), count=4)
    run("restore", workdir=str(tmp_path), count=2)


@pytest.mark.slow
def test_a_sharded_checkpoint_has_a_file_for_each_process(tmp_path):
    run("save", workdir=str(tmp_path), count=2, devices=2)
    main, part = tmp_path / "3.safetensors", tmp_path / "3.part1of2.safetensors"
    assert {path.name for path in tmp_path.iterdir()} == {main.name, part.name}
    for name, array in checkpoint_file.read(main).items():
        np.testing.assert_array_equal(array, hosts_worker.VALUES[name[2:-2]])
    hosts_worker.restore(str(tmp_path))
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.steps() == [3]
    assert checkpoints.header(3).notes == {"note": 1}

    content = part.read_bytes()
    part.write_bytes(content[:-4] + b"\0\0\1\0")
    assert "digest" in checkpoint_file.damage(main)
    other = checkpoint_file.encode({}, checkpoint_file.Header({"attempt": "x"}, None))
    part.write_bytes(other)
    assert "belongs to another checkpoint" in checkpoint_file.damage(main)
    part.unlink()
    assert "3.part1of2.safetensors is missing" in checkpoint_file.damage(main)
    part.write_bytes(content)
    main.unlink()  # a part without the file of process 0 was never completed
    CheckpointWriter(tmp_path, hosts_worker.CheckpointConfig(), say=print).close()
    assert not list(tmp_path.iterdir())


def test_a_damaged_sharded_checkpoint_is_set_aside_with_its_parts(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    shard = {"x@0": np.zeros(2, np.float32)}
    header = checkpoint_file.Header({}, None)
    for step in (3, 33):
        parts = checkpoint_file._checkpoint_parts.Parts({}, {"x": [2]})
        (folder / f"{step}.safetensors").write_bytes(checkpoint_file.encode(shard, header, parts))
    parts = checkpoint_file._checkpoint_parts.Parts({"33.part1of2.safetensors": "?"}, {"x": [4]})
    (folder / "33.safetensors").write_bytes(checkpoint_file.encode(shard, header, parts))
    (folder / "33.part1of2.safetensors").write_bytes(b"")
    lines = []
    CheckpointWriter(folder, hosts_worker.CheckpointConfig(), say=lines.append).close()
    assert [path.name for path in folder.iterdir()] == ["3.safetensors"]
    assert len(list(tmp_path.glob("corrupt_checkpoint_33_*"))) == 2
    assert "checkpoint of step 33 is corrupt" in lines[0]


def test_a_removed_folder_ends_the_wait_for_the_parts(tmp_path, monkeypatch):
    def check_owner():
        raise InputError("the folder was removed")

    config, folder = hosts_worker.CheckpointConfig(), tmp_path / "checkpoints"
    with contextlib.closing(
        CheckpointWriter(folder, config, say=print, guard=check_owner)
    ) as writer:
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        monkeypatch.setattr(checkpoint, "PART_SECONDS", 0.1)
        with pytest.raises(InputError, match="the folder was removed"):
            writer._await_parts(3)


def test_missing_shards_are_an_error():
    parts = checkpoint_file._checkpoint_parts.Parts({}, {"x": [4]})
    with pytest.raises(ValueError, match="shards of x are missing"):
        checkpoint_file._checkpoint_parts.join({"x@0": np.zeros(2)}, parts)


def test_functions_for_several_processes_are_trivial_in_one():
    mesh = jax.make_mesh((len(jax.devices()),), ("data",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    assert hosts.is_first()
    assert hosts.share({"a": 1}) == {"a": 1}
    assert hosts.is_any(True) is True
    assert hosts.failures() == {}
    hosts.barrier()
    hosts.publish_failure("nothing")
    hosts.check_same({"a": 1})
    agree = hosts.Agreement(sharding)
    assert [agree(number) for number in (0, 15, 0)] == [0, 15, 0]
    placed = hosts.place(np.arange(4), sharding)
    assert placed.sharding == sharding
    np.testing.assert_array_equal(hosts.gather({"a": placed})["a"], np.arange(4))
    np.testing.assert_array_equal(hosts.local_part(sharding, 8), np.arange(8))


def test_the_first_difference_between_processes_is_named():
    one = {"host": "a", "values": {"config.seed": 1, "release of jax": "1"}}
    two = {"host": "b", "values": {"config.seed": 2, "release of jax": "2"}}
    assert hosts.compare([one, one]) == ""
    assert hosts.compare([one, one, two]) == (
        "every process must have the same config.seed, got 1 in process 0 (a) and 2 in "
        "process 2 (b)"
    )


class _Store:
    """A key-value store that all processes of a test share."""

    def __init__(self):
        self.values = {}

    def key_value_set(self, key, value):
        self.values[key] = value

    def blocking_key_value_get(self, key, limit):
        return self.values[key]

    def key_value_dir_get(self, key):
        return [pair for pair in self.values.items() if pair[0].startswith(key)]


class _Runtime:
    def __init__(self, store, process):
        self.client, self.process_id, self.num_processes = store, process, 2


def test_processes_compare_and_report_through_the_store(monkeypatch):
    store = _Store()

    def act_as(process, start=0):
        monkeypatch.setattr(hosts, "_runtime", lambda: _Runtime(store, process))
        monkeypatch.setattr(hosts, "_numbers", itertools.count(start))

    act_as(0)
    assert hosts.share(5) == 5
    act_as(1)
    assert hosts.share(None) == 5
    store.key_value_set("jaxml/same/9/1", json.dumps({"host": "b", "values": {"x": 2}}))
    for process in (0, 1):
        act_as(process, start=9)
        with pytest.raises(
            InputError, match=r"the same x, got 1 in process 0 .* and 2 in process 1"
        ):
            hosts.check_same({"x": 1 + process})
    hosts.publish_failure("broken")
    assert hosts.failures() == {}
    act_as(0)
    assert hosts.failures() == {1: "broken"}
