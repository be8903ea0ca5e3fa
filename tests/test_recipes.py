"""Tests of recipes whose solution is known from another method."""

import dataclasses
import runpy
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxml.data import DATASETS
from jaxml.training.checkpoint import Checkpoints
from jaxml.training.compilation import jit_steps
from jaxml.training.evaluation import final_variables
from jaxml.training.experiment import create_experiment
from jaxml.training.loop import train_and_evaluate
from tests import references

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Returns a function that trains a recipe on one device and returns its head and result."""
    devices = jax.devices()[:1]
    monkeypatch.setattr(jax, "devices", lambda *_: devices)

    def train(name, **changes):
        config = dataclasses.replace(
            runpy.run_path(str(CONFIGS / f"{name}.py"))["get_config"](), **changes
        )
        result = train_and_evaluate(config, tmp_path)
        experiment = create_experiment(config)
        checkpoints = Checkpoints(tmp_path / "checkpoints")
        state = checkpoints.restore(result["steps"], experiment.abstract_state)
        variables = final_variables(experiment, jit_steps(experiment), state)
        return jax.device_get(variables["params"]["head"]), result

    return train


def standardized(name):
    dataset = DATASETS[name](Path())
    mean, std = dataset.train.inputs.mean(0, np.float64), dataset.train.inputs.std(0, np.float64)
    return [(part.inputs - mean) / std for part in dataset[:2]], dataset


def test_linear_regression_ends_at_the_solution_in_closed_form(train):
    head, result = train("diabetes_linear_regression", eval_every_epochs=1000)
    (x, x_test), dataset = standardized("diabetes")
    columns = np.column_stack([x, np.ones(len(x))])
    solution, *_ = np.linalg.lstsq(columns, dataset.train.targets.astype(np.float64), rcond=None)
    references.assert_close(head["kernel"][:, 0], solution[:-1], 1e-4)
    references.assert_close(head["bias"], solution[-1:], 1e-5)
    error = x_test @ solution[:-1] + solution[-1] - dataset.test.targets
    assert result["test_rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
    r2 = 1 - np.mean(error**2) / dataset.test.targets.astype(np.float64).var()
    assert result["test_r2"] == pytest.approx(r2, rel=1e-4)


def test_logistic_regression_ends_where_scikit_learn_does(train):
    from sklearn.linear_model import LogisticRegression

    head, result = train("breast_cancer_logistic", batch_size=None, num_epochs=1500,
                         eval_every_epochs=1500)  # fmt: skip
    (x, x_test), dataset = standardized("breast_cancer")
    # lambda |w|^2 plus a mean over n examples equals |w|^2 / 2 plus C times a sum, up to scale.
    peer = LogisticRegression(C=1 / (2 * 1e-3 * len(x)), tol=1e-10, max_iter=10_000)
    peer.fit(x, dataset.train.targets)
    references.assert_close(head["kernel"][:, 0], peer.coef_[0], 2e-3)
    references.assert_close(head["bias"], peer.intercept_, 2e-3)
    assert result["test_accuracy"] == peer.score(x_test, dataset.test.targets)


def test_pegasos_ends_near_the_optimum_of_the_support_vector_machine(train):
    from sklearn.svm import LinearSVC

    head, result = train("digits_pegasos", num_epochs=200, eval_every_epochs=200)
    dataset = DATASETS["digits"](Path())
    x, x_test = (part.inputs.reshape(len(part.inputs), 64) / 255 for part in dataset[:2])
    labels = dataset.train.targets
    signs = np.where(labels[:, None] == np.arange(10), 1.0, -1.0)

    def primal(kernel):
        return np.sum(kernel**2) / 2 + np.maximum(1 - signs * (x @ kernel), 0).sum()

    peer = LinearSVC(loss="hinge", C=1.0, fit_intercept=False, tol=1e-5, max_iter=100_000)
    peer.fit(x, labels)
    best = primal(peer.coef_.T)
    assert not head["bias"].any()
    assert best * (1 - 1e-4) < primal(head["kernel"].astype(np.float64)) < 1.03 * best
    accuracy = peer.score(x_test, dataset.test.targets)
    assert result["test_accuracy"] == pytest.approx(accuracy, abs=0.02)
