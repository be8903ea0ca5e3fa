"""What is asked of XLA, and what is left to the user."""

import importlib.metadata
import importlib.util
import subprocess
import sys

import pytest

from launch import xla

FLAG = "--xla_cpu_experimental_ynn_fusion_type=reduce"


@pytest.fixture
def machine(monkeypatch):
    def machine(*, jaxlib="0.10.2", plugins=(), libtpu=None):
        monkeypatch.setattr(importlib.metadata, "version", lambda name: jaxlib)
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: plugins)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: libtpu)

    return machine


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, FLAG),
        ({"XLA_FLAGS": "--xla_dump_to=x"}, f"--xla_dump_to=x {FLAG}"),
        ({"XLA_FLAGS": FLAG.replace("reduce", "dot")}, FLAG.replace("reduce", "dot")),
    ],
)
def test_what_the_user_set_is_left_as_it_is(machine, before, after):
    machine()
    xla.tune_cpu(before)
    assert before["XLA_FLAGS"] == after


@pytest.mark.parametrize(
    "kind", [{"jaxlib": "0.11.0"}, {"plugins": ("jax_cuda13_plugin",)}, {"libtpu": "libtpu"}]
)
def test_nothing_is_asked_of_other_versions_and_accelerators(machine, kind):
    machine(**kind)
    environment = {}
    xla.tune_cpu(environment)
    assert not environment


def test_the_installed_xla_knows_the_flag():
    code = (
        "import os\nfrom launch import xla\nxla.tune_cpu(os.environ)\n"
        "import jax\nprint(jax.numpy.ones(3).sum())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "3.0\n"
