"""The flags that XLA is given, the memory that the C library keeps, and the user's choices."""

import importlib.metadata
import importlib.util
import platform
import subprocess
import sys

import pytest

from jaxml import _cpu
from jaxml._cpu import _proof, _tuning

FUSION, HEAP = _tuning.XLA_OPTIONS
# Prints the MiB that stay with the process when 144 are freed on a thread as those of XLA, then 144
# on the main one.
PROGRAM = """
import ctypes, os, sys, threading
from jaxml import _cpu

if sys.argv[1] == "tuned":
    _cpu.tune(os.environ)

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.malloc.argtypes = [ctypes.c_size_t]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]

def held():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20

def take_and_free(size=48 * 2**20):
    blocks = [library.malloc(size) for _ in range(3)]
    for block in blocks:
        library.memset(block, 1, size)
    for block in blocks:
        library.free(block)

before = held()
thread = threading.Thread(target=take_and_free)
thread.start()
thread.join()
take_and_free()
print(held() - before)
"""


@pytest.fixture
def machine(monkeypatch):
    """Simulates the plugins of JAX, and an XLA that works with some of the flags."""
    calls = []

    def machine(*, works=(FUSION, HEAP), plugins=(), libtpu=None):
        monkeypatch.setattr(_proof, "flag_works", lambda flag: flag in works)
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: plugins)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: libtpu)
        monkeypatch.setattr(_tuning, "run_in_calling_thread", lambda: calls.append("inline"))
        return calls

    return machine


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, f"{FUSION} {HEAP}"),
        ({"XLA_FLAGS": "--xla_dump_to=x"}, f"--xla_dump_to=x {FUSION} {HEAP}"),
        (
            {"XLA_FLAGS": FUSION.replace("reduce", "dot")},
            f"{FUSION.replace('reduce', 'dot')} {HEAP}",
        ),
    ],
)
def test_flags_of_the_user_are_kept(machine, before, after):
    machine()
    _cpu.tune(before)
    assert before["XLA_FLAGS"] == after


@pytest.mark.parametrize(("works", "after"), [([HEAP], {"XLA_FLAGS": HEAP}), ([], {})])
def test_flags_that_do_not_work_are_not_added(machine, works, after):
    machine(works=works)
    environment = {}
    _cpu.tune(environment)
    assert environment == after


@pytest.mark.parametrize("kind", [{"plugins": ("jax_cuda13_plugin",)}, {"libtpu": "libtpu"}])
def test_accelerators_get_no_flags(machine, kind):
    calls = machine(**kind)
    environment = {}
    _cpu.tune(environment)
    assert not environment
    assert not calls


@pytest.mark.parametrize("value", ["0", "false", "Off"])
def test_the_environment_and_the_config_switch_the_flags_off(machine, value):
    calls = machine()
    environment = {"JAXML_XLA_FLAGS": value}
    _cpu.tune(environment)
    _cpu.tune(environment, xla_flags=False)
    assert environment == {"JAXML_XLA_FLAGS": value}
    _cpu.tune(environment := {}, xla_flags=False)
    assert not environment
    assert not calls


@pytest.mark.slow
def test_the_installed_xla_knows_the_flags_that_are_added():
    code = (
        "import os\nfrom jaxml import _cpu\n_cpu.tune(os.environ)\n"
        "import jax\nprint(jax.numpy.ones(3).sum())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "3.0\n"


@pytest.mark.slow
@pytest.mark.parametrize("tuned", [True, False])
def test_programs_run_in_the_calling_thread(tuned):
    code = f"""
import os, time
from jaxml import _cpu
_cpu.tune(os.environ, xla_flags={tuned})
import jax
from jax import lax, numpy as jnp
x = jnp.full((512, 512), 1 / 512)
multiply = jax.jit(lambda x: lax.fori_loop(0, 200, lambda _, y: y @ x, x)).lower(x).compile()
begin = time.perf_counter()
y = multiply(x)
returned = time.perf_counter()
y.block_until_ready()
print((returned - begin) / (time.perf_counter() - begin))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (float(run.stdout) > 0.5) == tuned


@pytest.mark.slow
@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="these are settings of the GNU C library"
)
def test_what_is_freed_stays_with_the_process():
    kept = {}
    for setting in ("tuned", "default"):
        command = [sys.executable, "-c", PROGRAM, setting]
        kept[setting] = int(subprocess.run(command, check=True, capture_output=True).stdout)
    assert kept["tuned"] >= 280
    assert kept["default"] < 20
