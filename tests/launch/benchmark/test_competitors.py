"""Every competitor does all that it can be timed with."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch.benchmark.competitors import COMPETITORS, unsupported_reason
from launch.benchmark.task import Task
from tests import quick_compilation

ROOT = Path(__file__).parent.parent.parent.parent
TASK = Task("train_step", "resnet_tiny", 2, 8, 10, images=5)

# Each way in a task of its own, two calls of each operation, the precision changing.
CODE = """
import dataclasses
from launch.benchmark.competitors import prepare
from launch.benchmark.task import Task
for what, precision in {ways}:
    prepared = prepare({name!r}, dataclasses.replace({task}, what=what, precision=precision))
    for name, operation in prepared.operations.items():
        if name not in ("matrix_product", "copy"):
            operation.call(), operation.call()
    print(what, prepared.parameters, *prepared.operations, sep=",")
"""
CONVOLUTIONS = [
    f"{shape} {way}"
    for shape in ("32x32x16", "16x16x32", "8x8x64")
    for way in ("forward", "input gradient", "kernel gradient")
]


def _do(name, *ways):
    code = CODE.format(name=name, ways=ways, task=TASK)
    environment = os.environ | quick_compilation.environment() | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [line.split(",") for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jaxml", "flax", "keras", "torch"])
def test_a_competitor_does_what_it_is_asked(name):
    competitor = COMPETITORS[name]
    if importlib.util.find_spec(competitor.package) is None:
        pytest.skip(f"{competitor.package} is not installed")
    ways = ["train_step", "inference", "epoch"]
    found = _do(name, *((way, "float32") for way in ways), ("train_step", "bfloat16"))
    assert [line[0] for line in found] == [*ways, "train_step"]
    for what, parameters, *operations in found:
        assert operations[0] == what
        assert parameters == "1454"
    ceilings = ["matrix_product", "copy"] if name == "jaxml" else []
    if "conv" not in competitor.unsupported:
        assert _do(name, ("conv", "float32")) == [["conv", "0", *CONVOLUTIONS, *ceilings]]
    if "compile" not in competitor.unsupported:
        assert _do(name, ("compile", "float32")) == [["compile", "1454", "compile"]]


@pytest.mark.slow
def test_a_loop_over_blocks_is_compiled_too():
    assert _do("jaxml_scan", ("compile", "float32")) == [["compile", "1454", "compile"]]


def test_who_is_left_out_is_told_why(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name != "keras" or None)
    assert unsupported_reason("flax", TASK) == unsupported_reason("torch_compile", TASK) == ""
    assert unsupported_reason("keras", TASK) == "keras is not installed"
    several, other = (
        dataclasses.replace(TASK, **change) for change in ({"devices": 2}, {"model": "mlp"})
    )
    assert unsupported_reason("flax", several) == "only jaxml is timed on several devices"
    assert unsupported_reason("flax", other).startswith(
        "has no network mlp; there are resnet_tiny, "
    )
    compiled, conv = (dataclasses.replace(TASK, what=what) for what in ("compile", "conv"))
    assert unsupported_reason("torch", compiled) == "it does not compile"
    assert (
        unsupported_reason("torch_compile", conv) == "a single convolution has nothing to fuse with"
    )
