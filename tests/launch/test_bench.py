"""The benchmark as a person uses it: in a process of its own."""

import json
import re

import pytest

from tests import quick_compilation
from tests.launch import processes

pytestmark = pytest.mark.slow

TINY = ("--model=resnet_tiny", "--image_size=8", "--repeats=2")


def _run(*arguments, **environment):
    variables = {"PYTHONWARNINGS": "ignore"} | quick_compilation.environment()
    return processes.run("launch.bench", *arguments, environment=variables | environment)


def test_the_benchmark_compares_the_same_network(tmp_path):
    # A torch that ends the process which imports it.
    (tmp_path / "torch.py").write_text("import os\nos._exit(7)\n")
    file = tmp_path / "measurements.json"
    done = _run(
        *TINY,
        "--batch_size=4,8",
        "--peers=flax,torch",
        f"--json={file}",
        PYTHONPATH=str(tmp_path),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("torch: omitted, its process ended with status 7\n") == 2
    assert "resnet_tiny, train_step, 4x8x8x3, float32, 1 x " in done.stdout
    assert len(re.findall(r"  flax( +[\d,.]+ s?){4} +[\d.]+ \([\d.]+ to", done.stdout)) == 2
    assert done.stdout.count("of a large matrix product (") == 2

    found = json.loads(file.read_text())
    assert found["settings"]["peers"] == ["flax", "torch"]
    assert {"jax", "flax"} < set(found["versions"])
    assert [result["batch_size"] for result in found["results"]] == [4, 8]
    for result in found["results"]:
        assert set(result["competitors"]) == {"jaxml", "flax"}
        assert result["competitors"]["jaxml"]["ratio"] == 1
        for measured in result["competitors"].values():
            times = [measured[f"{name}_seconds"] for name in ("min", "median", "max")]
            assert times == sorted(times)
            speed = result["batch_size"] / measured["median_seconds"]
            assert measured["images_per_second"] == pytest.approx(speed)
        assert 0 < result["achieved"]["flops_fraction"] < 1
        assert result["ceilings"]["bytes_per_second"] > 0


def test_ours_alone_is_timed_on_several_devices():
    done = _run(*TINY, "--batch_size=4", "--devices=2")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "flax: omitted, only jaxml is timed on several devices"
    assert ", 2 x " in lines[1]
    assert lines[3].split()[0] == "jaxml"


def test_numbers_of_devices_are_timed_in_turns():
    done = _run(*TINY, "--batch_size=4", "--devices=1,2")
    assert (done.returncode, done.stderr) == (0, "")
    title, _, *lines, _ = done.stdout.splitlines()
    assert ", 1 x " in title
    assert [line[:12].strip() for line in lines] == ["jaxml", "flax", "2 devices"]
    assert re.search(r"[\d.]+ \([\d.]+ to [\d.]+\)$", lines[2])


def test_compiling_is_timed_in_fresh_processes():
    done = _run(*TINY[:2], "--repeats=1", "--batch_size=4", "--what=compile", "--peers=")
    assert (done.returncode, done.stderr) == (0, "")
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert names == ["resnet_tiny,", "median", "jaxml", "jaxml_scan"]


def test_single_convolutions_are_told_in_gigaflops():
    done = _run("--what=conv", "--batch_size=1", "--repeats=1")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[1].split() == ["GFLOP/s", "jaxml", "flax"]
    assert re.fullmatch(r"  32x32x16 forward +[\d.]+ +[\d.]+", lines[2])
    assert len(lines) == 2 + 9 + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--peers=flax,mxnet"],
            "--peers must be one of flax, keras, torch, torch_compile",
        ),
        (["--batch_size=large"], "--batch_size must be a list of integers, got 'large'"),
        (["--model=inception_v3", "--image_size=8", "--peers="], "jaxml: images must be at least"),
        (["--json=not/there.json"], "--json: not/there.json: its folder does not exist"),
        (["--what=everything"], "flag --what=everything"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, message):
    done = _run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
