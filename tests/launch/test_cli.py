"""The command line: settings are typed, and every mistake is answered in one line."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from absl import flags
from ml_collections import config_flags

from jaxml import config as settings
from jaxml.config import Config
from jaxml.errors import InputError
from launch import cache, cli


@pytest.fixture
def parse(monkeypatch):
    def parse(*arguments):
        monkeypatch.delitem(sys.modules, "config_config", raising=False)  # of the test before
        values = flags.FlagValues()
        flags.DEFINE_string("workdir", "", "folder of the run", flag_values=values)
        cli.parse(["train", *arguments], "configs/digits_resnet20v1.py", values)
        return values

    return parse


def test_settings_are_parsed_by_their_types(parse):
    config = parse(
        "--config.seed=3",
        "--config.optim.learning_rate=1e-2",
        "--config.model.zero_init",
        "--noconfig.optim.nesterov",
        "--config.optim.step_boundaries=(0.25, 0.5)",
        "--config.data.dir",
        "some/where",
    )["config"].value
    assert isinstance(config, Config)
    assert config.seed == 3
    assert config.optim.learning_rate == 0.01
    assert config.model.zero_init is True
    assert config.optim.nesterov is False
    assert config.optim.step_boundaries == (0.25, 0.5)
    assert config.data.dir == "some/where"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("crop:padding=4,flip", ("crop:padding=4", "flip")),
        ("flip", ("flip",)),
        ("", ()),
        ("()", ()),
        ("('crop:padding=4', 'flip')", ("crop:padding=4", "flip")),
    ],
)
def test_words_need_no_quotes(parse, given, expected):
    config = parse(f"--config.data.augment={given}")["config"].value
    assert config.data.augment == expected


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("batch_size", "64"),
        ("average.name", "ema"),
        ("model.hidden_features", "(3, 4)"),
        ("model.keep_prob", "0.5"),
        ("profile", "10:20"),
    ],
)
def test_a_setting_is_unset_by_none(parse, tmp_path, name, given):
    def parsed(*arguments):
        flag = parse(*arguments)["config"]
        assert [*config_flags.get_override_values(flag)] == [name]
        return settings.value(flag.value, name)

    assert parsed(f"--config.{name}=None") is None
    assert parsed(f"--config.{name}", "None") is None
    assert parsed(f"--config.{name}={given}", f"--config.{name}=None") is None
    assert parsed(f"--config.{name}=None", f"--config.{name}={given}") is not None
    (tmp_path / "flags").write_text(f"--config.{name}=None\n")
    assert parsed(f"--flagfile={tmp_path}/flags") is None


def test_a_setting_that_is_required_cannot_be_none(parse):
    for name, wanted in (
        ("seed", "an int >= 0 and <= 4294967295"),
        ("data.stream", "true or false"),
    ):
        with pytest.raises(InputError, match=rf"^config.{name} must be {wanted}, got 'None'$"):
            parse(f"--config.{name}=None")


def test_another_recipe_is_taken_by_its_path(parse):
    config = parse(f"--config={cli.ROOT}/configs/cifar10_resnet56v1.py", "--config.seed=1")
    assert config["config"].value.model.name == "resnet56v1"
    assert config["config"].value.seed == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--config.optim.learnin_rate=0.1"],
            "config.optim.learnin_rate is not a setting; "
            "did you mean 'config.optim.learning_rate'?",
        ),
        (
            ["--config.batch_size=many"],
            "config.batch_size must be an int >= 1, or None, got 'many'",
        ),
        (
            ["--config.optim.learning_rate=fast"],
            "config.optim.learning_rate must be a float > 0, got 'fast'",
        ),
        (
            ["--config.data.stream=perhaps"],
            "config.data.stream must be true or false, got 'perhaps'",
        ),
        (["--wrkdir=x"], "--wrkdir is not a flag; did you mean 'workdir'?"),
        (["runs/x"], "'runs/x' is not a flag; --help lists them"),
    ],
)
def test_a_mistake_is_answered_in_one_line(parse, arguments, message):
    with pytest.raises(InputError) as caught:
        parse(*arguments)
    assert str(caught.value) == message


def test_a_config_that_is_not_there_is_answered_with_those_there_are(parse):
    with pytest.raises(
        InputError,
        match=r"--config=digits: no such file; the project has .*configs/digits_resnet20v1\.py",
    ):
        parse("--config=digits")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def get_config(:", "SyntaxError"),
        ("import not_there", "ModuleNotFoundError"),
        ("x = 1", "get_config"),
        ("def get_config(): return 1", "must return a jaxml.config.Config"),
        ("def get_config(): return None + 1", "TypeError"),
        ("from jaxml.config import Config\ndef get_config(): return Config(sed=1)", "sed"),
    ],
)
def test_a_config_that_cannot_be_loaded_is_answered_in_one_line(parse, tmp_path, content, message):
    path = tmp_path / "mine.py"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        parse(f"--config={path}")
    assert str(caught.value).startswith("--config")
    assert "\n" not in str(caught.value)


def test_a_config_is_found_from_any_folder_and_changed_before_it_is_named(
    parse, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for argument in (
        ["--config=configs/cifar10_resnet56v1.py"],
        ["--config", "configs/cifar10_resnet56v1.py"],
    ):
        config = parse("--config.seed=1", *argument)["config"].value
        assert (config.model.name, config.seed) == ("resnet56v1", 1)
    (tmp_path / "mine.py").write_text(
        "from jaxml.config import Config\ndef get_config(): return Config(seed=7)"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse("--config=~/mine.py")["config"].value.seed == 7


def test_a_misspelt_setting_in_a_config_is_answered_with_the_right_one(parse, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from jaxml.config import Config\n"
        "def get_config():\n    config = Config()\n    config.optim.lr = 0.5\n    return config\n"
    )
    with pytest.raises(InputError) as caught:
        parse(f"--config={path}")
    assert str(caught.value) == (
        "config.optim.lr is not a setting; did you mean 'config.optim.learning_rate'?"
    )


def test_a_file_of_flags_that_cannot_be_read_is_answered_in_one_line(parse, tmp_path):
    with pytest.raises(InputError, match=r"^Unable to open flagfile: .*No such file .*nothing'$"):
        parse(f"--flagfile={tmp_path}/nothing")
    (tmp_path / "binary").write_bytes(b"\xf0\x00")
    with pytest.raises(InputError, match=r"^--flagfile must be a text file in UTF-8$"):
        parse(f"--flagfile={tmp_path}/binary")


def _raised(function):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (of any kind)
        function()
    return caught.value


def test_errors_that_a_user_can_mend_are_explained_in_one_line():
    too_long = _raised(lambda: Path("x" * 300).stat())
    assert cli.explain(too_long, {}) == (
        f"{'x' * 60}...{'x' * 20} (300 characters): File name too long"
    )
    noted = InputError("wrong")
    noted.add_note("to resume: a command")
    noted.add_note("-----\nFor simplicity, JAX has removed its internal frames")
    assert cli.explain(noted, {}) == "wrong; to resume: a command"
    assert cli.explain(MemoryError(), {}) == "out of memory"
    lost = RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating 5 bytes")
    assert cli.explain(lost, {}) == (
        "out of memory: RESOURCE_EXHAUSTED: Out of memory allocating 5 bytes"
    )
    asked = {"JAX_PLATFORMS": "tpu", cache.FOLDER: "x", "HOME": "y"}
    missing = RuntimeError("Unable to initialize backend 'tpu': no libtpu")
    assert cli.explain(missing, asked) == (
        "JAX_PLATFORMS=tpu: Unable to initialize backend 'tpu': no libtpu"
    )
    assert cli.explain(_raised(lambda: jax.devices("nonsense")), {}) is not None
    assert cli.explain(ValueError("of our own"), asked) is None


@pytest.mark.slow
def test_a_platform_that_is_not_there_is_answered_in_one_line():
    environment = os.environ | {"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(
        [sys.executable, "-m", "launch.models", "--model=resnet_tiny"],
        cwd=cli.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: JAX_PLATFORMS=cuda: ")
    assert ran.stderr.count("\n") == 1


def test_help_explains_every_setting_with_its_value(parse, capsys):
    with pytest.raises(SystemExit) as caught:
        parse("--help", "--config.batch_size=77")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "--config.batch_size=77\n      Number of examples per step over all devices" in text
    assert "--config.optim.learning_rate=" in text
    assert "--config.checkpoint.keep=" in text
    assert "--config.optim.clip_norm=None\n" in text


@pytest.mark.slow
def test_what_xla_says_to_its_makers_is_not_printed():
    program = """
from launch import cache, cli

def main():
    import jax.numpy as jnp
    print(jnp.cumsum(jnp.ones(2**16))[::-1].sum())

cli.run(main)
"""
    # XLA warns of each array that is larger.
    environment = os.environ | {"XLA_FLAGS": "--xla_multiheap_size_constraint_per_heap=1024"}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout
    assert not ran.stderr
