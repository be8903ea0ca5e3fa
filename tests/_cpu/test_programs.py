"""The memory of large programs."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# Six products of 32 MiB, of which two exist at a time. Prints the MiB of the program in heaps, of
# the limited program, and of what stays with the process after each of ten calls.
PROGRAM = """
import os, sys, time
from jaxml import _cpu
from jaxml.io import memory

_cpu.tune(os.environ)
memory.available_on_host = lambda: int(sys.argv[1]) * 2**20
import jax
from jax import numpy as jnp

def multiply(x, matrix):
    for _ in range(6):
        x = x @ matrix
    return x[0]

def held():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20

x, matrix = jnp.ones((2**20, 8)), jnp.eye(8)
lowered = jax.jit(multiply).lower(x, matrix)
compiled = lowered.compile()
limited = _cpu.limit_memory(lambda lowered: compiled)(lowered)
print(memory.of_program(compiled) // 2**20, memory.of_program(limited) // 2**20)
before = held()
for _ in range(10):
    limited(x, matrix).block_until_ready()
    reads = []
    for _ in range(10):  # a thread of XLA may free the buffers a little later
        time.sleep(0.01)
        reads.append(held())
    print(min(reads) - before)
"""


def run(available):
    command = [sys.executable, "-c", PROGRAM, str(available)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    compiled, limited, *held = map(int, done.stdout.split())
    return compiled, limited, held


def test_a_program_that_takes_a_small_fraction_keeps_its_heaps():
    compiled, limited, held = run(100_000)
    assert limited == compiled
    assert held[-1] > 0.9 * compiled


@pytest.mark.parametrize("available", [1000, 150])
def test_the_buffers_of_a_large_program_are_a_single_allocation_that_is_returned(available):
    compiled, limited, held = run(available)
    assert limited < 0.75 * compiled
    assert max(held) < 0.5 * limited
