"""The launcher, run as a command."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_iris
from sklearn.svm import LinearSVC

from jaxml.svm.files import read_examples, write_examples

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent


def _start(*arguments):
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        "XDG_CACHE_HOME": tempfile.gettempdir(),
    }
    command = [sys.executable, "-m", "launch.svm", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(process):
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in out + err
    return process.returncode, out, err


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A training and a test set, with alternating samples of the irises."""
    folder = tmp_path_factory.mktemp("irises")
    x, y = load_iris(return_X_y=True)
    x = x.astype(np.float32).astype(float)  # the bits that are fitted
    for name, part in (("train", slice(0, None, 2)), ("test", slice(1, None, 2))):
        write_examples(folder / name, x[part], y[part])
    return folder


def test_a_fit_is_reported_written_and_restored(files, tmp_path):
    model, predictions, result = (tmp_path / name for name in ("model", "predictions", "json"))
    result.write_text("of another run")
    status, out, err = _finish(
        _start(
            f"--train={files / 'train'}",
            f"--test={files / 'test'}",
            "--C=0.5",
            f"--model_out={model}",
            f"--predictions_out={predictions}",
            f"--result={result}",
        )
    )
    assert (status, err) == (0, "")
    found = json.loads(result.read_text())

    train = read_examples(files / "train")
    oracle: Any = LinearSVC(C=0.5, dual="auto", tol=1e-8, max_iter=10000)
    oracle.fit(train.x, train.labels)
    margins = (train.x @ oracle.coef_.T + oracle.intercept_) * np.where(
        train.labels[:, None] == oracle.classes_, 1, -1
    )
    primal = (
        0.5 * (np.square(oracle.coef_).sum() + np.square(oracle.intercept_).sum())
        + 0.5 * np.square(np.maximum(0, 1 - margins)).sum()
    )
    assert found["primal"] == pytest.approx(primal, rel=1e-4)
    assert found["dual"] <= primal * (1 + 1e-9)
    assert found["relative_gap"] <= 1e-4
    assert found["n_support"] == (margins < 1).any(1).sum()
    assert found["compile_seconds"] == 0  # linear problems are solved on the host
    assert found["fit_seconds"] > 0
    assert found["n_iter"] > 0

    test = read_examples(files / "test")
    expected = oracle.predict(test.x)
    assert predictions.read_text() == "".join(f"{label:g}\n" for label in expected)
    accuracy = np.equal(expected, test.labels).mean()
    assert found["accuracy"] == accuracy
    lines = out.splitlines()
    assert lines[0].endswith("75 samples, 4 features, 3 classes: 0, 1, 2")
    assert re.fullmatch(
        r"step \d+: primal \S+, dual \S+, relative gap \S+, \d+ support vectors", lines[1]
    )
    assert lines[-1].startswith(f"test accuracy {accuracy:.6g} (")

    status, out, err = _finish(_start(f"--model_in={model}", f"--test={files / 'test'}"))
    assert (status, err, out) == (0, "", lines[-1] + "\n")


def test_an_interrupted_fit_keeps_its_best_point(tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(10, size=1000)
    told = np.eye(10)[np.where(np.arange(1000) % 10, y, 0)]
    noise = 0.1 * scipy.sparse.random_array((1000, 1800), density=0.003, rng=rng)
    # With ten classes and so many features each step takes long, and this tolerance needs many.
    x = scipy.sparse.csr_array(scipy.sparse.hstack([told, noise]))
    write_examples(tmp_path / "train", x, y)
    process = _start(
        f"--train={tmp_path / 'train'}",
        f"--test={tmp_path / 'train'}",
        "--loss=hinge",
        "--tolerance=1e-30",
        f"--model_out={tmp_path / 'model'}",
        f"--result={tmp_path / 'json'}",
    )
    assert process.stdout is not None
    printed = 2005.0  # the primal of zeros, which is the best point until step 2
    for line in process.stdout:
        if step := re.match(r"step [1-9]\d*: primal (\S+),", line):
            printed = float(step[1])
        if printed < 500:
            break
    process.send_signal(signal.SIGINT)
    status, out, err = _finish(process)
    assert status == 128 + signal.SIGINT
    assert err == (
        "SIGINT: stopping at the best point so far; a second signal ends it immediately\n"
        "stopped by SIGINT, the best point is kept\n"
    )
    found = json.loads((tmp_path / "json").read_text())
    assert found["interrupted"]
    assert not found["converged"]
    assert re.search(r"best point so far, relative gap \S+\n", out)
    assert found["primal"] <= printed * (1 + 1e-7)  # it is printed with eight digits
    assert found["accuracy"] > 0.8
    assert (tmp_path / "model").read_text().startswith("solver_type L2R_L1LOSS_SVC_DUAL\n")


def test_bad_input_is_one_line_and_status_2_and_writes_nothing(files, tmp_path):
    (tmp_path / "nan").write_text("1 1:0.5\n-1 2:nan\n")
    train = f"--train={files / 'train'}"
    mistakes = {
        "nan, line 2": [f"--train={tmp_path / 'nan'}"],
        "--C must be > 0, got -1.0": [train, "--C=-1"],
        "--cache_size must be > 0, got 0.0": [train, "--kernel=rbf", "--cache_size=0"],
        "--coef0 must be a finite number, got nan": [
            "--train=not/there",
            "--kernel=poly",
            "--coef0=nan",
        ],
        "one of --train, --features_of, --model_in must be given": [],
        "--features_of=not/there: holds no run": ["--features_of=not/there"],
    }
    for wanted, arguments in mistakes.items():
        status, _, err = _finish(_start(f"--result={tmp_path / 'json'}", *arguments))
        assert status == 2, wanted
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert wanted in err
    assert not (tmp_path / "json").exists()
