"""The rest of jaxml works without the package for CPUs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import importlib, jax, jax.numpy as jnp, jaxml, pathlib, sys
from absl import flags
from jaxml.config import ModelConfig
from jaxml.models import MODELS, abstract_variables
from jaxml.training.loop import train_and_evaluate
from tests import tiny

before = set(flags.FLAGS)
for name in ("evaluate", "export", "models", "svm", "train"):
    importlib.import_module(f"launch.{name}")
    for flag in set(flags.FLAGS) - before:  # some belong to several launchers
        delattr(flags.FLAGS, flag)

assert jaxml.__file__.startswith(sys.argv[1]), jaxml.__file__
x, kernel = jnp.ones((64, 8, 8, 16)), jnp.ones((3, 3, 16, 32))
conv = jaxml.layers.conv
value, gradients = jax.jit(jax.value_and_grad(lambda *a: conv(*a).sum(), (0, 1)))(x, kernel)
assert abs(value / (64 * 32 * 16 * 22**2) - 1) < 1e-6, value  # 22 taps in the 8 rows
assert gradients[0].shape == x.shape
assert conv(x[:, :2, :2], kernel).shape == (64, 2, 2, 32)
assert abstract_variables(MODELS["resnet_tiny"](num_classes=10), (8, 8, 1))["params"]
config = tiny.config(num_epochs=1, model=ModelConfig("mlp", hidden_features=(4,)))
result = train_and_evaluate(config, pathlib.Path(sys.argv[1]) / "run")
assert result["steps"] == 3, result
"""


def test_the_library_and_the_launchers_work_without_the_package(tmp_path):
    for name in ("jaxml", "launch", "configs", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "_cpu", "benchmark")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    named = {}
    for file in [*(tmp_path / "jaxml").rglob("*.py"), *(tmp_path / "launch").rglob("*.py")]:
        lines = file.read_text().splitlines(keepends=True)
        rest = [line for line in lines if not re.search(r"\b_cpu\b", line)]
        if rest != lines:
            named[str(file.relative_to(tmp_path))] = len(lines) - len(rest)
            file.write_text("".join(rest))
    # An import and a line each.
    assert named["jaxml/layers/_conv.py"] == 2
    assert named["jaxml/training/experiment.py"] == 2
    (tmp_path / "launch/doctor.py").unlink()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        check=True,
    )
