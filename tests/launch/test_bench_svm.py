"""The benchmark of support vector machines, run as a command."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_iris

from jaxml.svm.files import write_examples
from tests.launch import processes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    x, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    file = tmp_path_factory.mktemp("irises") / "train"
    write_examples(file, x[order], y[order])
    return file


def _run(*arguments, **environment):
    return processes.run("launch.bench_svm", *arguments, environment=environment)


def test_sizes_are_timed_printed_written_and_plotted(train, tmp_path):
    result, plot = tmp_path / "measurements.json", tmp_path / "growth.svg"
    done = _run(
        f"--train={train}",
        "--kernel=rbf",
        "--samples=60,120",
        "--classes=2",
        "--features=3",
        "--repeats=2",
        f"--result={result}",
        f"--plot={plot}",
    )
    assert done.returncode == 0, done.stderr
    measurements = json.loads(result.read_text())
    assert [(f["model"], f["features"], f["classes"]) for f in measurements] == [
        ("jaxml", 3, 2),
        ("scikit-learn", 3, 2),
    ] * 2
    assert measurements[0]["samples"] < measurements[2]["samples"] <= 100
    for ours, peer in zip(measurements[::2], measurements[1::2], strict=True):
        np.testing.assert_allclose(ours["objective"], peer["objective"], rtol=1e-4)
        assert ours["fit_ratio"] == 1
        assert 0 < peer["fit_min_seconds"] <= peer["fit_seconds"] <= peer["fit_max_seconds"]
    assert done.stdout.count("x ours; objective") == 4
    drawn = plot.read_text()
    assert "<svg" in drawn
    assert drawn.count("<!-- jaxml -->") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--samples=ten"], "--samples must be a list of integers, got ten"),
        (["--train="], "--train must be given"),
        (["--train={}"], "--train: {} must have a file train-images*"),
        (["--kernel=rbf", "--gamma=abc"], "--gamma must be scale, auto or a number > 0, got 'abc'"),
        (
            ["--result={}/no/measurements"],
            "--result: {}/no/measurements: its folder does not exist",
        ),
        (["--plot={}"], "--plot: {}: is a folder"),
        (["--plot={}/growth.txt"], "--plot must be a .svg, .png or .pdf file, got {}/growth.txt"),
    ],
)
def test_bad_flags_are_one_line_before_the_first_fit(train, flags, message, tmp_path):
    done = _run(f"--train={train}", *(flag.format(tmp_path) for flag in flags))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message.format(tmp_path)}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
