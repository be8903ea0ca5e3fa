"""The peers' networks cost what ours cost."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import pytest

from jaxml.models import create_model, summarize
from launch.benchmark.competitors import ours
from launch.benchmark.competitors.plain_flax import FlaxNetwork
from launch.benchmark.competitors.plain_torch import create_model as create_torch
from launch.benchmark.networks import NETWORKS
from launch.benchmark.settings import Settings

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent.parent

# Shallow ones of each kind, and the deepest of them that are compared.
NAMES = ["resnet_tiny", "resnet20v1", "resnet56v1", "resnet29v2", "resnet18", "resnet50"]
NAMES += ["inception_small"]


def _cost(name):
    """Of ours, and what is timed, at half of the usual size."""
    size = Settings(model=name).task(1).image_size // 2
    task = Settings(model=name, image_size=size).task(1)
    network = create_model(ours.model_config(task), num_classes=task.num_classes)
    return summarize(network, task.batch_shape[1:]), task


@pytest.mark.parametrize("name", NAMES)
def test_flax_learns_and_computes_as_much(name):
    wanted, task = _cost(name)
    model = FlaxNetwork(NETWORKS[name], task.num_classes, jnp.float32)
    found = summarize(model, task.batch_shape[1:])
    assert found == wanted


@pytest.mark.parametrize("name", NAMES)
def test_torch_learns_and_computes_as_much(name):
    torch = pytest.importorskip("torch")
    counter = pytest.importorskip("torch.utils.flop_counter")
    wanted, task = _cost(name)
    model = create_torch(torch, NETWORKS[name], task.num_classes).train()
    assert sum(p.numel() for p in model.parameters()) == wanted.parameters
    images = torch.zeros((2, 3, task.image_size, task.image_size), dtype=torch.uint8)
    with counter.FlopCounterMode(display=False) as flops:
        logits = model(images)
    assert logits.shape == (2, task.num_classes)
    # A product counts as two operations there.
    assert flops.get_total_flops() == 2 * 2 * wanted.multiply_adds
    logits.sum().backward()  # nothing that it needs was overwritten


def test_keras_learns_as_much():
    if importlib.util.find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    tasks = [_cost(name) for name in ("resnet_tiny", "inception_small")]
    code = f"""
import importlib, os
os.environ["KERAS_BACKEND"] = "numpy"  # which builds layers without compiling
keras = importlib.import_module("keras")
from launch.benchmark.competitors.plain_keras import create_model
from launch.benchmark.networks import NETWORKS
from launch.benchmark.task import Task
for task in {[task for _, task in tasks]}:
    model = create_model(keras, NETWORKS[task.model], task)
    print(sum(int(weight.value.size) for weight in model.trainable_weights), model.output_shape)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    wanted = [f"{cost.parameters} {(None, task.num_classes)}" for cost, task in tasks]
    assert done.stdout.splitlines() == wanted
