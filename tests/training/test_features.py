"""Features of a trained run at a tap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxml.config import DataConfig, ModelConfig
from jaxml.data.sources import digits
from jaxml.errors import InputError
from jaxml.models import intermediates
from jaxml.training import evaluation
from jaxml.training.compilation import jit_steps
from jaxml.training.features import extract_features
from jaxml.training.loop import train_and_evaluate
from jaxml.training.restore import restore_checkpoint
from tests import tiny

pytestmark = pytest.mark.slow

HELD_OUT = 37


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a finished run that holds some examples out, and its result."""
    folder = tmp_path_factory.mktemp("features") / "run"
    data = DataConfig(name="digits", augment=("crop:padding=1",), validation_size=HELD_OUT)
    config = tiny.config(num_epochs=1, batch_size=350, data=data)
    return folder, train_and_evaluate(config, folder)


def test_the_head_on_the_features_is_the_network(trained):
    folder, result = trained
    x, labels = extract_features(folder, "features", split="validation")
    assert (x.dtype, x.shape, labels.shape) == (np.float32, (HELD_OUT, 8), (HELD_OUT,))
    head = jax.device_get(restore_checkpoint(folder, "newest").state.params["head"])
    decided = (x @ head["kernel"] + head["bias"]).argmax(-1)
    assert np.mean(decided == labels) == result["validation_accuracy"]


def test_every_split_is_whole_and_in_the_order_of_the_data(trained):
    folder, _ = trained
    dataset = digits.load(folder)
    experiment, _, state = restore_checkpoint(folder, "best")
    expected = {
        "train": (dataset.train.inputs[:-HELD_OUT], dataset.train.targets[:-HELD_OUT]),
        "validation": (dataset.train.inputs[-HELD_OUT:], dataset.train.targets[-HELD_OUT:]),
        "test": tuple(dataset.test),
    }
    for split, (inputs, targets) in expected.items():
        x, labels = extract_features(folder, "stage2", split=split, checkpoint="best")
        np.testing.assert_array_equal(labels, targets)
        assert x.shape == (len(targets), 4 * 4 * 8)
        # Rows at both ends and around the end of the first batch of 200.
        rows = [0, *range(198, 202), len(inputs) - 1] if len(inputs) > 200 else [0, 5, -1]
        images = state.normalizer.apply(jnp.asarray(inputs[rows]))
        variables = evaluation.final_variables(experiment, jit_steps(experiment), state)
        alone = intermediates(experiment.learner.model, variables, images, ["stage2"])["stage2"]
        np.testing.assert_allclose(x[rows].reshape(alone.shape), alone, rtol=1e-4, atol=1e-5)


def test_what_there_is_not_is_told(trained, tmp_path):
    folder, _ = trained
    cases = [
        (tmp_path, "features", {}, "--workdir=.*: holds no run"),
        (
            folder,
            "stage3",
            {},
            "^--tap must be one of features, stage1, stage2, stem, got 'stage3'; ",
        ),
        (folder, "stem", {"split": "all"}, "^--split must be one of train, test, validation"),
        (
            folder,
            "stem",
            {"checkpoint": "7"},
            "^--checkpoint must be one of .*, newest, best in .*, got '7'$",
        ),
    ]
    for workdir, tap, settings, message in cases:
        with pytest.raises(InputError, match=message):
            extract_features(workdir, tap, **settings)


def test_a_network_without_taps_is_told(tmp_path):
    config = tiny.config(num_epochs=1, model=ModelConfig(name="linear"))
    train_and_evaluate(config, tmp_path / "run")
    with pytest.raises(
        InputError, match=r"^--tap must name .* of linear, which has none, got 'features'$"
    ):
        extract_features(tmp_path / "run", "features")
    with pytest.raises(InputError, match=r"^--split must be one of train, test"):
        extract_features(tmp_path / "run", "features", split="validation")
