"""When a fast path is tried, how it fails, and that its outcome is cached."""

import json
import logging
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jaxml import _cpu
from jaxml._cpu import _child, _proof, _tuning
from jaxml.io import process

FLAG = "--xla_cpu_enable_fast_math=false"
UNKNOWN = "--xla_no_such_flag=1"
# Programs of a child that simulate other builds of jaxlib.
WITHOUT_CALL = """
from jaxml._cpu import _child, _onednn
_onednn.TARGET = "__no_such_target"
_child.CASES = _child.CASES[:1]
_child.main("onednn")
"""
WITHOUT_PARTITIONING = """
import sys
sys.modules["jax.experimental.custom_partitioning"] = None
from jaxml._cpu import _child, _proof
_child.LARGE_CASES = _child.LARGE_CASES[:1]
_child.main(_proof.PARTITION)
"""
PARTITIONED_BY_XLA = """
from jaxml._cpu import _child, _convolution, _proof
_child.LARGE_CASES = _child.LARGE_CASES[:1]
_convolution.LEAST_PRODUCTS *= 10
_child.main(_proof.PARTITION)
"""
WITHOUT_SUM = """
from jax import lax
from jaxml._cpu import _child, _partition, _proof
_child.LARGE_CASES = _child.LARGE_CASES[:1]
lax.psum = lambda value, *_, **__: value
_child.main(_proof.PARTITION)
"""
WRONG = """
from jaxml._cpu import _child, _onednn
convolve = _onednn.convolve
_child.CASES = _child.CASES[:1]
_onednn.convolve = lambda *a, **kw: convolve(*a, **kw) * (1 + {error})
_child.main("onednn")
"""


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache folder, for a process that has tried nothing yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _proof._outcome.cache_clear()
    yield tmp_path / "cache" / "jaxml" / "cpu"
    _proof._outcome.cache_clear()


@pytest.fixture
def children(monkeypatch):
    """Replaces the child process: counts the children, and sets how they end."""

    class Children:
        count, error = 0, ""

        def run(self, program, **_):
            self.count += 1
            if self.error:
                raise process.ChildError(self.error)
            return _proof.PASSED

    children = Children()
    monkeypatch.setattr(process, "run", children.run)
    return children


def another_process():
    """Forgets what this process knows, as if it were another one."""
    _proof._outcome.cache_clear()


def simulate(monkeypatch, code):
    monkeypatch.setattr(_proof, "_PROGRAM", ("-c", code))


@pytest.mark.slow
def test_the_installed_jaxlib_contains_a_onednn_that_works():
    if not _proof.onednn_applies():
        pytest.skip("oneDNN is in the builds for Linux on x86-64")
    assert _proof.outcome("onednn").reason == ""
    assert _proof.onednn_works()


@pytest.mark.slow
def test_the_installed_xla_knows_a_flag_and_computes_correctly():
    assert _proof.flag_works(FLAG)


@pytest.mark.slow
def test_a_jaxlib_without_the_call(monkeypatch, caplog):
    simulate(monkeypatch, WITHOUT_CALL)
    with caplog.at_level(logging.WARNING, "jaxml"):
        assert not _proof.onednn_works()
        assert not _proof.onednn_works()
    (line,) = caplog.messages
    assert line.startswith("oneDNN convolution is not used, programs are slower: the child process")
    assert "__no_such_target" in line
    assert "\n" not in line


@pytest.mark.slow
@pytest.mark.parametrize("error", ["1e-3", "float('nan')"])
def test_a_jaxlib_whose_call_computes_wrong_values(monkeypatch, error):
    simulate(monkeypatch, WRONG.format(error=error))
    reason = _proof.outcome("onednn").reason
    assert "wrong value of a convolution: relative error" in reason


@pytest.mark.slow
def test_the_installed_jax_partitions_it():
    if not _proof.onednn_applies():
        pytest.skip("oneDNN is in the builds for Linux on x86-64")
    assert _proof.outcome(_proof.PARTITION).reason == ""
    assert _proof.onednn_works(devices=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (WITHOUT_PARTITIONING, "jax.experimental.custom_partitioning"),
        (PARTITIONED_BY_XLA, "the program does not call oneDNN"),
        (WITHOUT_SUM, "wrong kernel of a convolution: relative error"),
    ],
)
def test_a_jax_that_does_not_partition_it(monkeypatch, caplog, code, reason):
    _proof._write(_proof.ONEDNN, _proof.Outcome("", time.time()))
    simulate(monkeypatch, code)
    with caplog.at_level(logging.WARNING, "jaxml"):
        assert not _proof.onednn_works(devices=2)
    (line,) = caplog.messages
    assert line.startswith("oneDNN convolution on several devices is not used")
    assert reason in line
    assert _proof.onednn_works()


@pytest.mark.slow
def test_an_xla_that_rejects_a_flag():
    assert not _proof.flag_works(UNKNOWN)
    reason = _proof.outcome(UNKNOWN).reason
    assert "Unknown flag" in reason
    assert UNKNOWN in reason


def test_a_child_that_hangs_or_says_nothing(monkeypatch):
    monkeypatch.setattr(_proof, "LIMIT_S", 0.2)
    simulate(monkeypatch, "import time; time.sleep(60)")
    begin = time.monotonic()
    assert _proof.outcome("onednn").reason == "the child process took more than 0.2 s"
    assert time.monotonic() - begin < 20
    monkeypatch.setattr(_proof, "LIMIT_S", 60)
    simulate(monkeypatch, "")
    assert _proof.outcome(FLAG).reason == "the child process did not finish"


def test_a_child_has_no_settings_of_jax_and_starts_no_child(monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    monkeypatch.setenv("XLA_FLAGS", UNKNOWN)
    environment = _proof._child_environment("onednn")
    assert "JAX_ENABLE_X64" not in environment
    assert environment["XLA_FLAGS"] == ""
    assert _proof._child_environment(FLAG)["XLA_FLAGS"] == FLAG
    for name in ("JAXML_ONEDNN", "JAXML_XLA_FLAGS"):
        monkeypatch.setenv(name, environment[name])

    def start(*_, **__):
        raise AssertionError("a child was started")

    monkeypatch.setattr(process, "run", start)
    assert not _proof.onednn_works()
    _cpu.tune(environment)
    assert environment["XLA_FLAGS"] == ""


def test_a_second_process_reads_the_outcome(children, cache):
    assert _proof.flag_works(FLAG)
    assert _proof.flag_works(FLAG)
    another_process()
    begin = time.perf_counter()
    assert _proof.flag_works(FLAG)
    assert time.perf_counter() - begin < 0.2
    assert children.count == 1
    assert [file.suffix for file in cache.iterdir()] == [".json"]


def test_concurrent_threads_start_one_child(children):
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(_proof.flag_works, [FLAG] * 8))
    assert children.count == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"reason": "", "time": []}', "\0"])
def test_a_corrupt_outcome_is_tried_again(children, content):
    file = _proof.cache_file(FLAG)
    assert file
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert _proof.flag_works(FLAG)
    assert children.count == 1
    another_process()
    assert _proof.flag_works(FLAG)
    assert children.count == 1
    assert json.loads(file.read_text())["reason"] == ""


def test_a_cache_that_cannot_be_written(children, cache, tmp_path, monkeypatch):
    cache.parent.parent.write_text("a file in the place of the folder")
    assert _proof.flag_works(FLAG)
    another_process()
    assert _proof.flag_works(FLAG)
    assert children.count == 2

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    another_process()
    assert _proof.flag_works(FLAG)
    assert children.count == 3


def test_a_failed_write_leaves_nothing(children, cache, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", fail)
    assert _proof.flag_works(FLAG)
    assert list(cache.iterdir()) == []


def test_a_failure_is_tried_again_after_a_day(children, monkeypatch):
    children.error = "it ended"
    assert not _proof.flag_works(FLAG)
    another_process()
    assert not _proof.flag_works(FLAG)
    assert children.count == 1
    children.error = ""
    another_process()
    now = time.time()
    monkeypatch.setattr(_proof.time, "time", lambda: now + _proof.FAILURE_LASTS_S + 1)
    assert _proof.flag_works(FLAG)
    assert children.count == 2


def test_an_outcome_belongs_to_a_build_and_a_cpu(monkeypatch):
    def file():
        _proof._identity.cache_clear()
        return _proof.cache_file("onednn")

    before = file()
    assert file() == before
    with monkeypatch.context() as patch:
        patch.setattr(_proof, "_cpu_model", lambda: "another CPU")
        assert file() != before
    with monkeypatch.context() as patch:
        patch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
        assert file() != before

    class Distribution:
        version = "0.0"

        def read_text(self, name):
            return None

    with monkeypatch.context() as patch:
        patch.setattr(_proof.importlib.metadata, "distribution", lambda name: Distribution())
        assert file() != before
    assert file() == before


def test_the_report_shows_each_path_and_tries_again(children, monkeypatch):
    monkeypatch.setattr(_tuning, "has_accelerator", lambda: False)
    states = dict(_cpu.report())
    count = children.count
    assert len(states) == 2 + len(_tuning.XLA_OPTIONS)
    assert all(state.startswith("on (") for name, state in states.items() if name[0] == "-")
    list(_cpu.report())
    assert children.count == count
    children.error = "it ended"
    states = dict(_cpu.report(again=True))
    assert children.count == 2 * count
    assert all("it ended" in state for name, state in states.items() if name[0] == "-")
    monkeypatch.setenv("JAXML_XLA_FLAGS", "off")
    states = dict(_cpu.report())
    assert set(states.values()) >= {"off: JAXML_XLA_FLAGS=off"}


@pytest.mark.slow
def test_importing_it_starts_nothing_and_imports_no_jax():
    code = (
        "import subprocess, sys\n"
        "def fail(*a, **k): raise AssertionError\n"
        "subprocess.Popen = fail\n"
        "import jaxml._cpu\nassert 'jax' not in sys.modules\n"
        "import jaxml.layers"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_cases_cover_strides_asymmetric_padding_dilation_and_groups():
    assert {case.strides for case in _child.CASES} > {(1, 1), (2, 2), (1, 3)}
    assert any(top != bottom for case in _child.CASES for top, bottom in case.pads)
    assert any(max(case.dilation) > 1 for case in _child.CASES)
    assert any(case.groups > 1 for case in _child.CASES)
