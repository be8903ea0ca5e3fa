"""Weights out of a run and into another."""

import dataclasses
import inspect
import json
import re

import jax
import numpy as np
import pytest

from jaxml.config import AverageConfig, CheckpointConfig, Config, ModelConfig, WeightsConfig
from jaxml.errors import InputError
from jaxml.training.assessment import load_subject
from jaxml.training.compilation import jit_steps
from jaxml.training.evaluation import evaluate
from jaxml.training.experiment import create_experiment
from jaxml.training.export import export_weights
from jaxml.training.features import extract_features
from jaxml.training.initialize import initial_state, read_weights
from jaxml.training.loop import train_and_evaluate
from jaxml.training.restore import evaluate_checkpoint
from jaxml.training.stablehlo import export_stablehlo
from jaxml.training.trained import load_network
from jaxml.weights import _safetensors_file
from tests import tiny


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A finished run, the file of its weights, and its result."""
    folder = tmp_path_factory.mktemp("export")
    result = train_and_evaluate(tiny.config(num_epochs=1), folder / "run")
    card = export_weights(folder / "run", folder / "weights.safetensors")
    return folder, result, card


def _starting_from(file, **changes):
    weights = {name: changes.pop(name) for name in ("new_head", "freeze") if name in changes}
    return tiny.config(weights=WeightsConfig(file=str(file), **weights), **changes)


def _initial_state(experiment):
    return initial_state(experiment, jit_steps(experiment), read_weights(experiment))


@pytest.mark.slow
def test_the_file_holds_every_array_and_the_settings(exported):
    folder, result, _ = exported
    tensors, metadata = _safetensors_file.read(folder / "weights.safetensors")
    count = sum(a.size for name, a in tensors.items() if name.startswith("params."))
    assert count == result["num_params"]
    assert tensors["params.stage1.block1.conv1.kernel"].shape == (3, 3, 4, 4)
    assert tensors["batch_stats.stem_norm.mean"].shape == (4,)
    assert json.loads(metadata["config"]) == json.loads((folder / "run/config.json").read_text())
    assert json.loads(metadata["metrics"])["accuracy"] == result["test_accuracy"]
    assert (metadata["network"], metadata["step"]) == ("resnet_tiny", str(result["steps"]))


@pytest.mark.slow
def test_the_card_says_what_the_network_is_and_how_good(exported):
    folder, result, card = exported
    assert (folder / "weights.safetensors.md").read_text() == card
    assert card.startswith("# resnet_tiny on digits\n")
    assert f"| test accuracy | {result['test_accuracy']:.6g} |" in card
    assert "| input | 8x8x1, normalized by per_image |" in card
    assert f"| training | {result['steps']} steps of 478 examples, seed 0 |" in card
    settings = card.partition("```json\n")[2].partition("```")[0]
    assert json.loads(settings)["batch_size"] == 478


@pytest.mark.parametrize(
    "function",
    [
        evaluate_checkpoint, export_stablehlo, export_weights, extract_features, load_network,
        load_subject,
    ],
)  # fmt: skip
def test_evaluated_and_exported_networks_are_the_same_by_default(function):
    assert inspect.signature(function).parameters["checkpoint"].default == "newest"


@pytest.mark.slow
def test_a_run_that_starts_from_it_is_as_good(exported):
    folder, result, _ = exported
    experiment = create_experiment(_starting_from(folder / "weights.safetensors"))
    state = _initial_state(experiment)
    metrics = evaluate(experiment, jit_steps(experiment), state)
    assert metrics["accuracy"] == result["test_accuracy"]
    assert metrics["loss"] == pytest.approx(result["test_loss"], rel=1e-6)


@pytest.mark.slow
def test_a_new_head_is_drawn_and_all_else_is_read(exported):
    folder, _, _ = exported
    file = folder / "weights.safetensors"
    drawn = _initial_state(create_experiment(tiny.config()))
    read = _initial_state(create_experiment(_starting_from(file)))
    # A head for every pixel has another shape than the file's.
    config = _starting_from(file, new_head=True)
    config.model = ModelConfig(name="resnet_tiny", head="fc")
    new = _initial_state(create_experiment(config))
    assert new.params["head"]["kernel"].shape == (4 * 4 * 8, 10)
    assert np.asarray(new.params["head"]["kernel"]).std() > 0
    _assert_equal(new.params["stage2"], read.params["stage2"])
    _assert_equal(new.batch_stats, read.batch_stats)
    a, b = (np.asarray(s.params["stem_conv"]["kernel"]) for s in (drawn, read))
    assert not np.allclose(a, b)
    config.weights.new_head = False
    with pytest.raises(InputError, match=r"of the wrong shape.*params.head.kernel is \(8, 10\)"):
        read_weights(create_experiment(config))


@pytest.mark.slow
def test_fine_tuning_leaves_what_is_frozen(exported, tmp_path):
    folder, _, _ = exported
    config = _starting_from(folder / "weights.safetensors", freeze="stem|stage1", num_epochs=1)
    train_and_evaluate(config, tmp_path / "run")
    export_weights(tmp_path / "run", tmp_path / "tuned.safetensors", checkpoint="newest")
    before, _ = _safetensors_file.read(folder / "weights.safetensors")
    after, _ = _safetensors_file.read(tmp_path / "tuned.safetensors")
    for name, array in before.items():
        frozen = name.split(".")[1] in ("stem_conv", "stem_norm", "stage1")
        assert np.array_equal(array, after[name]) == frozen, name


@pytest.mark.slow
def test_a_run_that_goes_on_needs_the_file_no_more(exported, tmp_path):
    folder, _, _ = exported
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes((folder / "weights.safetensors").read_bytes())
    config = _starting_from(copy, num_epochs=1)
    first = train_and_evaluate(config, tmp_path / "run")
    copy.unlink()
    (tmp_path / "run" / "result.json").unlink()  # as if it had been stopped after the last step
    again = train_and_evaluate(config, tmp_path / "run")
    assert again["params_sha256"] == first["params_sha256"]


@pytest.mark.slow
def test_a_file_that_does_not_fit_is_told_before_anything_is_written(exported, tmp_path):
    folder, _, _ = exported
    config: Config = dataclasses.replace(
        _starting_from(folder / "weights.safetensors"), model=ModelConfig(name="resnet20v1")
    )
    with pytest.raises(InputError, match=r"weights.safetensors: tensors missing: "):
        train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    missing = _starting_from(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match=r"none.safetensors"):
        train_and_evaluate(missing, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("pattern", "what"), [("stage9", "none"), ("stem|", "all")])
def test_a_pattern_that_freezes_nothing_or_everything_is_told(pattern, what):
    config = tiny.config(weights=WeightsConfig(freeze=pattern))
    message = (
        rf"^config.weights.freeze must match some parameters and not all, got "
        rf"{re.escape(repr(pattern))}, which matches {what}; their paths begin with head, stage1, "
        "stage2, stem_conv, stem_norm$"
    )
    with pytest.raises(InputError, match=message):
        create_experiment(config)


def test_a_network_that_no_library_has_is_told(exported):
    folder, _, _ = exported
    with pytest.raises(InputError, match=r"^--names must be native for resnet"):
        export_weights(
            folder / "run", folder / "x.safetensors", checkpoint="newest", names="library"
        )
    assert not (folder / "x.safetensors").exists()


def _assert_equal(tree, other):
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_the_mean_of_checkpoints_is_that_of_stochastic_weight_averaging(tmp_path):
    config = tiny.config(num_epochs=3, checkpoint=CheckpointConfig(keep=3))
    train_and_evaluate(config, tmp_path / "plain")
    averaged = dataclasses.replace(config, average=AverageConfig(name="swa", start=0.0))
    result = train_and_evaluate(averaged, tmp_path / "swa")
    metrics = evaluate_checkpoint(tmp_path / "plain", "3,9,6")
    assert metrics["step"] == 9
    assert metrics["loss"] == pytest.approx(result["test_loss"], rel=1e-5)
    assert metrics["accuracy"] == result["test_accuracy"]
    newest = evaluate_checkpoint(tmp_path / "plain")
    assert metrics["loss"] != pytest.approx(newest["loss"], rel=1e-2)

    export_weights(tmp_path / "plain", tmp_path / "mean.safetensors", checkpoint="3,9,6")
    mean, _ = _safetensors_file.read(tmp_path / "mean.safetensors")
    parts = []
    for step in ("3", "6", "9"):
        export_weights(tmp_path / "plain", tmp_path / "one.safetensors", checkpoint=step)
        parts.append(_safetensors_file.read(tmp_path / "one.safetensors")[0])
    for name in mean:
        if name.startswith("params."):
            expected = np.mean([part[name].astype(np.float64) for part in parts], axis=0)
            np.testing.assert_allclose(mean[name], expected, rtol=1e-5, atol=1e-7)


def test_a_checkpoint_to_average_must_exist(exported):
    folder, _, _ = exported
    with pytest.raises(InputError, match=r"--checkpoint must be one of .*, got '4'"):
        evaluate_checkpoint(folder / "run", "newest,4")
