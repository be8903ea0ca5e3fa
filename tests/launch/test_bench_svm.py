"""The benchmark of support vector machines, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris

from jaxml.svm.files import libsvm_format

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    x, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    file = tmp_path_factory.mktemp("irises") / "train"
    libsvm_format.write(file, x[order], y[order])
    return file


def _run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "launch.bench_svm", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_sizes_are_timed_beside_the_peer_told_written_and_drawn(train, tmp_path):
    result, plot = tmp_path / "figures.json", tmp_path / "growth.svg"
    done = _run(
        f"--train={train}",
        "--kernel=rbf",
        "--rows=60,120",
        "--classes=2",
        "--features=3",
        "--repeats=2",
        f"--result={result}",
        f"--plot={plot}",
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(result.read_text())
    assert [(f["machine"], f["features"], f["classes"]) for f in figures] == [
        ("jaxml", 3, 2),
        ("scikit-learn", 3, 2),
    ] * 2
    assert figures[0]["rows"] < figures[2]["rows"] <= 100
    for ours, peer in zip(figures[::2], figures[1::2], strict=True):
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
        (["--rows=ten"], "--rows: ten is not a list of integers"),
        (["--train="], "--train: a file is needed"),
        (["--train={}"], "--train: {}: holds no train-images*"),
        (["--kernel=rbf", "--gamma=abc"], "gamma: 'abc' is not one of scale, auto or a number"),
        (["--result={}/no/figures"], "--result: {}/no/figures: its folder does not exist"),
        (["--plot={}"], "--plot: {}: is a folder"),
        (["--plot={}/growth.txt"], "--plot: {}/growth.txt is no .svg, .png or .pdf file"),
    ],
)
def test_bad_flags_are_one_line_before_the_first_fit(train, flags, message, tmp_path):
    done = _run(f"--train={train}", *(flag.format(tmp_path) for flag in flags))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message.format(tmp_path)}")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_plot_needs_matplotlib_before_the_first_fit(train, tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('none here')\n")
    done = _run(f"--train={train}", f"--plot={tmp_path / 'growth.svg'}", PYTHONPATH=str(tmp_path))
    assert done.stderr == "error: --plot: matplotlib is not installed: pip install matplotlib\n"
    assert (done.returncode, done.stdout) == (2, "")
