"""The facts that the doctor shows, and that it tries the fast paths."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxml._cpu import _tuning

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent


def doctor(tmp_path, *arguments, **environment):
    cache = {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "launch.doctor", *arguments],
        env={**os.environ, **cache, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def facts(done):
    assert done.returncode == 0, done.stderr
    return dict(line.split("  ", 1) for line in done.stdout.splitlines())


def test_it_shows_versions_devices_and_fast_paths(tmp_path):
    if _tuning.has_accelerator():
        pytest.skip("an accelerator has no fast paths of a CPU")
    done = doctor(tmp_path)
    shown = facts(done)
    assert done.stderr == ""
    assert shown["jaxlib"].strip() == importlib.metadata.version("jaxlib")
    assert shown["devices"].strip() == "0: cpu"
    files = list((tmp_path / "jaxml/cpu").iterdir())
    for name in (*map(_tuning.name_of, _tuning.XLA_OPTIONS), "oneDNN convolution"):
        assert shown[name].strip().startswith("on (cached in ")
        assert sum(str(file) in shown[name] for file in files) == 1


def test_a_fast_path_that_fails_is_off_and_logged_in_one_line(tmp_path):
    code = (
        "import os, sys\nfrom jaxml._cpu import _proof\n"
        "_proof._PROGRAM = ('-c', 'import os; os.abort()')\n"
        "import runpy; runpy.run_module('launch.doctor', run_name='__main__')"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    shown = facts(done)
    for name in map(_tuning.name_of, _tuning.XLA_OPTIONS):
        assert "off: the child process ended with status -6" in shown[name]
        assert sum(f"{name}=" in line for line in done.stderr.splitlines()) == 1


def test_a_fast_path_that_is_switched_off_is_not_tried(tmp_path):
    shown = facts(doctor(tmp_path, JAXML_ONEDNN="0", JAXML_XLA_FLAGS="0"))
    assert "JAXML_ONEDNN=0" in shown["oneDNN convolution"]
    assert not (tmp_path / "jaxml").exists()


def test_the_largest_batch_is_shown_with_the_command_that_takes_it(tmp_path):
    settings = ["--config.model.name=linear", "--config.data.augment=flip,crop:padding=1"]
    file = "configs/digits_resnet20v1.py"
    words = [f"--config={file}", *settings, "--config.batch_size=32"]
    done = doctor(tmp_path, *words, JAXML_ONEDNN="0", JAXML_XLA_FLAGS="0")
    shown = facts(done)["largest batch"].strip()
    assert shown.startswith("1,437, limited by the training set: needs ")
    command = " ".join([f"python -m launch.train --config={file}", *settings])
    assert shown.endswith(f"; {command} --config.batch_size=1437")
