"""The benchmark of support vector machines, in a process of its own."""

import json
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


def _run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "launch.bench_svm", *map(str, arguments)],
        cwd=ROOT,
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
    ("flag", "message"),
    [("--rows=ten", "--rows: ten is not a list of integers"), ("", "--train: a file is needed")],
)
def test_bad_flags_are_one_line(train, flag, message):
    done = _run(*([f"--train={train}", flag] if flag else []))
    assert done.returncode == 2
    assert done.stderr.strip() == f"error: {message}"
