"""Tests of the config tree: its checks, its help text and its JSON."""

import dataclasses
import json
import re
import runpy
from pathlib import Path

import pytest

from jaxml import config as settings
from jaxml.config import Config
from jaxml.errors import InputError

STEPS = "two increasing steps such as 10:20, or None"
CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_named_in_its_docstring(path):
    module = runpy.run_path(str(path))
    settings.check(module["get_config"]())
    assert f"--config=configs/{path.name}" in module["__doc__"]


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("batch_size", -1, "an int >= 1, or None"),
        ("batch_size", 1.5, "an int >= 1, or None"),
        ("batch_size", "128", "an int >= 1, or None"),
        ("batch_size", True, "an int >= 1, or None"),
        ("seed", 2**32, "an int >= 0 and <= 4294967295"),
        ("optim.learning_rate", 0.0, "a float > 0"),
        ("optim.learning_rate", float("nan"), "a float > 0"),
        ("optim.learning_rate", float("inf"), "a float > 0"),
        ("optim.momentum", 1.0, "a float >= 0 and < 1"),
        ("optim.nesterov", 1, "true or false"),
        (
            "optim.schedule",
            "cosin",
            "one of step, cosine, constant, exponential, polynomial, inverse_sqrt, inverse_time, "
            "one_cycle",
        ),
        ("optim.step_boundaries", (0.5, 2.0), "a tuple of floats >= 0 and <= 1"),
        ("optim.step_boundaries", [0.5], "a tuple of floats >= 0 and <= 1"),
        ("data.dir", None, "a non-empty string"),
        ("weights.file", "", "a non-empty string, or None"),
        ("optim.clip_norm", 0.0, "a float > 0, or None"),
        ("average.name", "none", "one of ema, swa, lookahead, or None"),
        *[
            ("profile", value, STEPS)
            for value in ("10", "a:b", "20:10", "5:5", "-1:3", "1:2:3", 10)
        ],
    ],
)
def test_an_invalid_value_is_reported_with_its_rule(name, value, wanted):
    config = Config()
    *parents, field = name.split(".")
    holder = getattr(config, parents[0]) if parents else config
    setattr(holder, field, value)
    with pytest.raises(InputError) as caught:
        settings.check(config)
    assert str(caught.value) == f"config.{name} must be {wanted}, got {value!r}"


def test_a_float_may_be_an_int():
    config = Config()
    config.optim.learning_rate = 1
    settings.check(config)


def test_an_unknown_name_is_reported_with_the_nearest():
    settings.check_name("optim.learning_rate")
    with pytest.raises(InputError, match=r"did you mean 'config\.batch_size'\?"):
        settings.check_name("batchsize")
    with pytest.raises(InputError, match="is not a setting; --help lists them"):
        settings.check_name("qqqqqqqq")
    with pytest.raises(InputError, match=r"config\.optim is not a setting"):
        settings.check_name("optim")


def test_json_restores_the_same_tree():
    config = Config(seed=7, batch_size=None, profile="1:2")
    config.optim.step_boundaries = (0.25,)
    config.data.dir = "some/where"
    assert settings.from_json(settings.to_json(config)) == config
    assert json.loads(settings.to_json(config))["optim"]["step_boundaries"] == [0.25]
    assert json.loads(settings.to_json(config))["batch_size"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not the JSON of a config"),
        ("[]", "not the JSON of a config"),
        ('{"sed": 1}', "is not a setting"),
        ('{"seed": "1"}', "an int >= 0"),
    ],
)
def test_json_that_is_not_a_tree_is_an_error(text, message):
    with pytest.raises(InputError, match=message):
        settings.from_json(text)


def test_differences_are_reported_with_both_values():
    config = Config(seed=1)
    config.optim.step_boundaries = (0.5,)
    assert settings.differences(config, dataclasses.asdict(Config())) == [
        "config.seed is 0 there, 1 here",
        "config.optim.step_boundaries is [0.5, 0.75] there, [0.5] here",
    ]


def test_missing_settings_have_their_defaults():
    stored = json.loads(settings.to_json(Config()))
    del stored["seed"], stored["weights"]["entry"], stored["checkpoint"]
    assert settings.differences(Config(), stored) == []
    assert settings.differences(Config(seed=5), stored) == ["config.seed is 0 there, 5 here"]
    assert settings.from_tree(stored) == Config()


def test_unknown_settings_prevent_resuming():
    stored = {**dataclasses.asdict(Config()), "old": 3, "model": 5}
    assert settings.differences(Config(), stored) == [
        "config.model is 5 there, not a setting here",
        "config.old is 3 there, not a setting here",
    ]


def test_settings_that_do_not_affect_the_parameters_may_change():
    changed = {
        "profile": "3:4",
        "eval_every_epochs": 2,
        "eval_batch_size": 9,
        "patience": 4,
        "data.dir": "elsewhere",
        "data.workers": 3,
        "data.max_damaged": 0,
        "eval_flip": True,
        "checkpoint.every_steps": 7,
        "checkpoint.every_minutes": 0.5,
        "checkpoint.keep": 5,
        "checkpoint.on_failure": "continue",
        "log.report": False,
        "log.layers_every_epochs": None,
        "log.tensorboard": True,
        "log.tracker": "wandb",
        "log.project": "digits",
        "log.every_steps": 2,
        "log.histograms_every_epochs": None,
        "log.images": 0,
        "mesh.fsdp": 2,
        "log.stall_seconds": None,
        "optim.max_skips": 3,
    }
    free = {n for n, f, _ in settings.fields(Config()) if f.metadata["resume"] != "same"}
    assert free == {*changed, "num_epochs"}
    config = Config()
    for name, value in changed.items():
        settings.assign(config, name, value)
        assert settings.value(config, name) == value
    assert settings.differences(config, dataclasses.asdict(Config())) == []


@pytest.mark.parametrize("there", [31, "x", None, [3]])
def test_the_number_of_epochs_may_only_increase(there):
    stored = {**dataclasses.asdict(Config()), "num_epochs": there}
    assert settings.differences(Config(num_epochs=30), stored) == [
        f"config.num_epochs is {there} there, 30 here"
    ]
    stored["num_epochs"] = 29
    assert settings.differences(Config(num_epochs=30), stored) == []


def test_every_setting_is_described_with_its_value():
    text = settings.describe(Config(batch_size=77))
    assert "--config.batch_size=77" in text
    leaves = list(_leaves(Config))
    assert text.count("--config.") == len(leaves)
    assert all(field.metadata["doc"] for field in leaves)


def _leaves(tree):
    for field in dataclasses.fields(tree):
        if dataclasses.is_dataclass(field.type):
            yield from _leaves(field.type)
        else:
            yield field


@pytest.mark.parametrize(
    ("section", "name", "hint"),
    [
        ("optim", "lr", "config.optim.learning_rate"),
        ("optim", "wd", "config.optim.weight_decay"),
        (None, "num_epoch", "config.num_epochs"),
        (None, "learning_rate", "config.optim.learning_rate"),
        ("data", "batch_size", "config.batch_size"),
    ],
)
def test_an_unknown_name_cannot_be_assigned(section, name, hint):
    config = Config()
    path = f"config.{section}.{name}" if section else f"config.{name}"
    with pytest.raises(InputError) as caught:
        setattr(getattr(config, section) if section else config, name, 1)
    assert str(caught.value) == f"{path} is not a setting; did you mean {hint!r}?"
    assert config == Config()


@pytest.mark.parametrize("value", [None, {"name": "mlp"}, settings.OptimConfig(), 3])
def test_a_section_must_be_an_instance_of_its_class(value):
    wanted = "config.model must be an instance of ModelConfig, got "
    with pytest.raises(InputError, match=wanted):
        Config(model=value)
    with pytest.raises(InputError, match=wanted):
        Config().model = value


def test_paths_expand_home_and_are_utf_8(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert settings.user_path("~/x") == Path("/home/me/x")
    assert settings.user_path("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")
    assert settings.user_path("a/~/\u00fc") == Path("a/~/\u00fc")
    with pytest.raises(InputError, match="must be UTF-8"):
        settings.user_path("a\udcfc")


@pytest.mark.parametrize("url", ["gs://bucket/photos", "s3://bucket", "GS://b", "git+ssh://b"])
def test_buckets_must_be_mounted(url):
    message = f"^paths must be in the file system, got {re.escape(repr(url))}; mount a bucket"
    with pytest.raises(InputError, match=message):
        settings.user_path(url)
