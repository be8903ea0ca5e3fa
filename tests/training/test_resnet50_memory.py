"""Memory and collectives of a step of ResNet-50 on eight devices, without running it."""

import json
import os

import pytest

from tests.launch import processes
from tests.training import resnet50_memory

NAMES = ("plain", "remat", "fsdp", "bfloat16")


@pytest.mark.large
def test_the_programs_of_resnet50_have_the_memory_that_their_settings_promise(capsys):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    done = processes.run(resnet50_memory.__name__, *NAMES, environment={"XLA_FLAGS": flags})
    assert done.returncode == 0, done.stderr[-3000:]
    with capsys.disabled():
        print(f"\n{done.stdout}")  # noqa: T201
    found = dict(zip(NAMES, map(json.loads, done.stdout.splitlines()), strict=True))
    plain, remat, fsdp, bfloat16 = found.values()
    assert plain["devices"] == 8
    assert remat["temporary"] < 0.65 * plain["temporary"]
    assert fsdp["state"] < plain["state"] / 7.5  # small arrays are replicated
    assert fsdp["temporary"] < 1.05 * plain["temporary"]
    assert bfloat16["state"] == remat["state"] == plain["state"]
    assert plain["collectives"]["all-gather"] == 1  # the logits, whose ranks are metrics
    assert fsdp["collectives"]["all-gather"] > 50
    assert "all-to-all" not in plain["collectives"].keys() | fsdp["collectives"].keys()
