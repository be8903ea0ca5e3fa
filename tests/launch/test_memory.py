"""Memory that steps free stays with the process."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from launch import memory

if sys.argv[1] == "keep":
    memory.keep_freed()
import jax, jax.numpy as jnp

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

step = jax.jit(lambda x: jnp.cumsum(x).sum())
x, before = jnp.ones(2**23), []
for _ in range(8):
    before.append(faults())
    step(x).block_until_ready()
print(min(after - start for start, after in zip(before, before[1:])))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of Linux's C library")
def test_a_step_touches_no_new_pages():
    faults = {}
    for setting in ("keep", "default"):
        command = [sys.executable, "-c", PROGRAM, setting]
        faults[setting] = int(subprocess.run(command, check=True, capture_output=True).stdout)
    assert faults["keep"] < 100
    assert faults["default"] > 4000  # a step takes 32 MB or more
