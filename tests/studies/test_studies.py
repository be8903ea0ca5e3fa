"""Every study runs on a small setting, and its criteria fail if its claim is broken on purpose."""

import jax
import numpy as np
import pytest

from jaxml import activations, initializers, studies
from jaxml.errors import InputError
from jaxml.studies import Settings
from jaxml.studies._inception import Widths
from jaxml.studies.activation_functions import Case
from jaxml.studies.sparsity import plain_descent

TINY = Settings(seeds=(0, 1), effort=0.03)


def round_features():
    """Features of one scale without correlation."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4))
    return x, x.sum(1) + rng.normal(size=400)


HE = initializers.he_normal()
DIRECT = Widths(64, 0, 128, 0, 32, 32)
NAMES = ("sigmoid", "tanh", "tanh, weights × 5", "ReLU")
RELU = dict.fromkeys(NAMES, Case(activations.relu, HE, 1.0))
SMALL_BATCHES = dict.fromkeys(("1", "32", "all 1,437"), (32, 0.2, 135))

# How the claim of each study is broken: the condition that changes, the effort, and the words in
# the name of a criterion that has to fail then, and to be met otherwise.
EXACT = {
    "input_normalization": ({"load": round_features}, 1.0, "iterations, raw over standardized"),
    "zero_initialization": ({"equal": HE}, 0.1, "in any step, equal start"),
    "weight_scale": ({"scale": 1.02}, 1.0, "linear, forward"),
    "variance_propagation": ({"he": initializers.xavier_normal()}, 1.0, "ReLU, He, forward"),
    "classification_losses": ({"convex": "squared error"}, 0.2, "magnitude: cross-entropy"),
    "sparsity": ({"solver": plain_descent}, 0.3, "zeros of 10, L1, proximal"),
    "dropout": ({"divided": False}, 0.03, "mean of the units"),
    "margins": ({"keep": "other points"}, 1.0, "hinge"),
}
TRAINED = {
    "batch_normalization": ({"normalized": False}, 1.0, "the 6 learning rates"),
    "pointwise_convolution": (
        {"googlenet": {"with": DIRECT, "without": DIRECT}}, 0.03, "GoogLeNet's block"
    ),
    "heads": ({"average": "fc"}, 0.03, "parameters of the head"),
    "degradation": ({"plain": "v1"}, 1.0, "at 20, plain"),
    "resnet_versions": ({"clean": "plain"}, 0.03, "plain minus v2"),
    "inception_residual": ({"joined": False}, 1.0, "steps to the loss"),
    "activation_functions": ({"cases": RELU}, 0.03, "sigmoid, start: gradient"),
    "sigmoid_and_softmax": ({"digits_per_image": 1}, 1.0, "found by the softmax"),
    "optimizers": ({"sizes": SMALL_BATCHES}, 1.0, "full batch"),
    "without_labels": ({"shuffle": True}, 0.3, "k-means: test"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _standard_promotion():
    with jax.numpy_dtype_promotion("standard"):  # optax.adam raises a float to an int
        yield


def test_every_study_is_broken_once():
    assert {**EXACT, **TRAINED}.keys() == studies.STUDIES.keys()


@pytest.mark.parametrize("name", studies.STUDIES)
def test_a_study_runs_on_a_small_setting(name):
    study = studies.load(name)
    finding = study.run(TINY)
    for measured in finding.measured.values():
        assert len(measured) == len(TINY.seeds)
    for check in finding.checks:
        assert np.isfinite(check.values).all(), check.effect
        assert check.at_least > -np.inf or check.at_most < np.inf
    table = study.table(finding.measured)
    assert {len(row) for row in table.rows} == {len(table.header)}
    panels = study.panels(finding.measured)
    assert 2 <= len(panels) <= 5
    assert all(panel.draw().startswith("<") for panel in panels)


def check_broken(name, conditions, effort, effect):
    study = studies.load(name)
    settings = Settings(effort=effort)

    def met(**conditions):
        found = [c.holds for c in study.run(settings, **conditions).checks if effect in c.effect]
        assert len(found) == 1
        return found[0]

    assert met()
    assert not met(**conditions)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), EXACT.items(), ids=EXACT)
def test_a_broken_claim_is_found(name, case):
    check_broken(name, *case)


@pytest.mark.large
@pytest.mark.parametrize(("name", "case"), TRAINED.items(), ids=TRAINED)
def test_a_broken_claim_is_found_by_training(name, case):
    check_broken(name, *case)


@pytest.mark.large
@pytest.mark.parametrize("name", studies.STUDIES)
def test_the_criteria_are_met_over_five_seeds(name):
    finding = studies.load(name).run(Settings())
    assert finding.confirmed, [check for check in finding.checks if not check.holds]


def test_an_unknown_study_is_reported():
    with pytest.raises(InputError, match=r"`name` must be one of .+; did you mean 'dropout'\?"):
        studies.load("dropuot")
