"""The list of networks and the layers of one, as a person asks for them."""

import pytest

from tests.launch import processes

pytestmark = pytest.mark.slow


def test_a_network_is_shown_with_its_cost_and_its_layers():
    done = processes.run("launch.models", "--model=resnet20v1", "--channels=1", "--image_size=28")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["network", "parameters", "multiply-adds", "activations", "input"]
    assert lines[1].split()[:2] == ["resnet20v1", "269,434"]
    assert lines[1].split()[-1] == "28x28x1"
    assert lines[4].split() == ["stem_conv", "Conv", "28x28x16", "kernel", "3x3x1x16"]
    assert lines[-1].split() == ["head", "Dense", "10", "bias", "10,", "kernel", "64x10"]


def test_mistakes_are_told_in_one_line():
    for arguments, message in (
        (("--model=resnet2v1",), "error: --model must be one of linear, mlp"),
        (("--image_size=-1",), "error: flag --image_size=-1"),
        (("--model=inception_v3", "--image_size=8"), "error: images must be at least"),
    ):
        done = processes.run("launch.models", *arguments)
        assert done.returncode == 2, done.stdout
        assert done.stderr.startswith(message)
        assert done.stderr.count("\n") == 1


def test_an_export_needs_a_run_and_a_name():
    for arguments, message in (
        (("--out=x.safetensors",), "error: --workdir must be given"),
        (("--workdir=none",), "error: --out must be given"),
        (("--workdir=none", "--out=x.pth"), "error: --out must end in .safetensors, got 'x.pth'"),
        (("--workdir=none", "--out=x.safetensors"), "error: --workdir=none: holds no run"),
    ):
        done = processes.run("launch.export", *arguments)
        assert done.returncode == 2
        assert done.stderr.startswith(message)
        assert done.stderr.count("\n") == 1
