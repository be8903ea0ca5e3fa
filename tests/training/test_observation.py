"""Observing a run changes nothing, and what fails in it ends nothing."""

import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.config import LogConfig
from jaxml.io import atomic
from jaxml.training import experiment, train_and_evaluate
from jaxml.training.findings import first_kernels
from jaxml.training.norms import layer_names, layer_norms
from tests import tiny

EVERYTHING = LogConfig(tensorboard=True, every_steps=1, histograms_every_epochs=1)
NOTHING = LogConfig(report=False, layers_every_epochs=None)


def _lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("observed") / "run"
    return workdir, train_and_evaluate(tiny.config(num_epochs=2, log=EVERYTHING), workdir)


def test_the_parameters_do_not_depend_on_the_log(observed, tmp_path):
    _, result = observed
    plain = train_and_evaluate(tiny.config(num_epochs=2, log=NOTHING), tmp_path / "run")
    assert plain["params_sha256"] == result["params_sha256"]
    assert not (tmp_path / "run/report.html").exists()
    assert not (tmp_path / "run/events").exists()
    assert "layers" not in _lines(tmp_path / "run")[0]


def test_a_run_leaves_a_report_events_and_norms(observed):
    workdir, result = observed
    text = (workdir / "report.html").read_text()
    assert "Most confident mistakes" in text
    assert "Kernels of the first layer" in text
    assert list((workdir / "events").iterdir())
    layers = _lines(workdir)[0]["layers"]
    assert len(layers) == 6
    assert all(0 < value < 100 for norms in layers.values() for value in norms)
    assert result["phases"].keys() == {
        "prepare", "compile", "input", "steps", "evaluation", "checkpoints"
    }  # fmt: skip


def test_a_disk_that_is_full_for_the_report_leaves_the_result_whole(tmp_path, monkeypatch, capsys):
    write = atomic.write

    def fail(path, content):
        if path.name == "report.html":
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(atomic, "write", fail)
    config = tiny.config(num_epochs=1, log=LogConfig())
    result = train_and_evaluate(config, tmp_path / "run")
    assert json.loads((tmp_path / "run/result.json").read_text()) == result
    said = capsys.readouterr().out
    assert said.count("the report could not be written") == 1
    assert "No space left on device" in said


def test_the_next_start_writes_a_report_that_is_missing(tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    run = tmp_path / "run"
    monkeypatch.setattr("jaxml.training.findings.measure_peak", lambda: 1e9)
    config, file = tiny.config(num_epochs=1, log=LogConfig()), run / "report.html"
    result = train_and_evaluate(config, run)
    expected = file.read_text()
    file.unlink()
    with monkeypatch.context() as patch:
        patch.setattr("jaxml.reporting.report.write_report", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_and_evaluate(config, run)
    assert not file.exists()
    capsys.readouterr()
    assert train_and_evaluate(config, run) == result
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [f"the run in {run} is finished", f"report in {file}"]
    assert file.read_text() == expected
    file.write_text("of a shorter run")
    os.utime(file, (0, 0))
    train_and_evaluate(config, run)
    assert file.read_text() == expected
    file.write_text("of this run")
    train_and_evaluate(config, run)
    assert file.read_text() == "of this run"


def test_a_report_is_not_rewritten_from_other_data(tmp_path, monkeypatch, capsys):
    config = tiny.config(num_epochs=1)
    train_and_evaluate(config, tmp_path)
    config.log.report = True
    monkeypatch.setattr(experiment, "digests", lambda data: {"test inputs": "others"})
    train_and_evaluate(config, tmp_path)
    said = capsys.readouterr().out
    assert said.count("warning: the report could not be written: the data changed since") == 1
    assert not (tmp_path / "report.html").exists()


def test_norms_are_those_of_numpy():
    generator = np.random.default_rng(0)
    trees = [
        {"head": {"bias": generator.normal(size=3), "kernel": generator.normal(size=(4, 3))}}
        for _ in range(3)
    ]
    measured = jax.jit(lambda measured: layer_norms(*map(_floats, trees), measured=measured))
    expected = [[float(np.linalg.norm(tree["head"]["kernel"]))] for tree in trees]
    np.testing.assert_allclose(measured(jnp.array(True)), expected, rtol=1e-6)
    assert not np.asarray(measured(jnp.array(False))).any()
    assert layer_names(trees[0]) == ["head"]


def _floats(tree):
    return jax.tree.map(jnp.float32, tree)


def test_the_first_kernels_are_those_of_the_first_layer():
    conv = np.arange(3 * 3 * 1 * 2, dtype=np.float32).reshape(3, 3, 1, 2)
    head = np.arange(16.0).reshape(8, 2)  # its inputs are as many as the pixels
    params = {"head": {"kernel": head}, "stem": {"kernel": conv}, "norm": {"scale": np.ones(2)}}
    found = first_kernels(params, ["norm", "stem", "head"], (2, 4, 1))
    assert found is not None
    np.testing.assert_array_equal(found[1], conv[..., 1])
    found = first_kernels(params, ["head"], (2, 4, 1))
    assert found is not None
    np.testing.assert_array_equal(found[1].ravel(), head[:, 1])
    assert first_kernels(params, ["head"], (8,)) is None
    assert first_kernels(params, ["stem", "head"], (2, 4, 3)) is None
    assert first_kernels(params, ["norm"], (2, 4, 1)) is None
