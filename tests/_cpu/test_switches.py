"""The config of a run switches the fast paths."""

import subprocess
import sys
from pathlib import Path

import pytest

from jaxml import config as settings
from jaxml._cpu import _switches
from jaxml.config import Config, CpuConfig
from jaxml.training.experiment import create_experiment
from tests import tiny

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import runpy, sys
from jaxml import _cpu

def tune(environment, *, xla_flags=True):
    print("xla_flags:", xla_flags)
    sys.exit(0)

_cpu.tune = tune
sys.argv = ["launch.train", *sys.argv[1:]]
runpy.run_module("launch.train", run_name="__main__", alter_sys=False)
"""


def test_an_experiment_switches_onednn():
    for onednn in (False, True):
        create_experiment(tiny.config(cpu=CpuConfig(onednn=onednn)))
        assert _switches.is_on(_switches.ONEDNN) == onednn


@pytest.mark.parametrize("value", ["true", "false"])
@pytest.mark.parametrize("resumes", [False, True])
def test_a_launcher_switches_the_flags_before_jax_starts(value, resumes, tmp_path):
    arguments = [f"--workdir={tmp_path}"]
    if resumes:
        config = Config(cpu=CpuConfig(xla_flags=value == "true"))
        (tmp_path / "config.json").write_text(settings.to_json(config))
    else:
        arguments.append(f"--config.cpu.xla_flags={value}")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == f"xla_flags: {value.title()}"
