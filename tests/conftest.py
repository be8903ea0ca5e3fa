"""Strict mode for the suite: checked shapes, no implicit promotion, warnings as errors."""

import atexit
import ctypes
import gc
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import jax
import pytest
from hypothesis import settings

import tests.typecheck  # noqa: F401 (used by name in pyproject.toml)
from tests import quick_compilation

# Many tests compile the same small programs, and so do the worker processes: share a cache. A
# folder that the variable names is kept, and saves a third of the time of later runs.
_CACHE = "JAXML_TESTS_CACHE"
if _CACHE not in os.environ:
    os.environ[_CACHE] = tempfile.mkdtemp(prefix="jaxml-tests-")
    atexit.register(shutil.rmtree, os.environ[_CACHE], ignore_errors=True)

if quick_compilation.OPTIMIZED not in os.environ:
    os.environ[quick_compilation.OPTIMIZED] = "" if quick_compilation.is_accepted() else "1"

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", os.environ[_CACHE])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)

with pytest.MonkeyPatch.context() as _patch:
    for _name, _value in quick_compilation.environment().items():
        _patch.setenv(_name, _value)
    jax.devices()  # XLA reads its flags once, so that they do not reach the processes of tests

_MUCH_MEMORY = 1.6e9  # bytes

settings.register_profile("suite", deadline=None, max_examples=15, derandomize=True)
settings.load_profile("suite")

_whole = pytest.StashKey[bool]()


def pytest_addoption(parser):
    """Adds `--large`, which also runs the tests of whole published networks (about an hour)."""
    parser.addoption("--large", action="store_true", help="also run the tests marked large")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Runs the tests of a single file in this process."""
    files = {argument.partition("::")[0] for argument in config.args}
    return 0 if len(files) == 1 and Path(files.pop()).is_file() else None


class _Memory:
    """Releases the compiled programs of a module, which would fill the memory of a whole run.

    A plugin, because the fixtures of this file do not apply to the examples in docstrings.
    """

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self, item, nextitem):
        last = nextitem is None or nextitem.path != item.path
        if last or _resident_bytes() > _MUCH_MEMORY:
            _release_programs()


def pytest_configure(config):
    """Registers the release of memory for all tests."""
    config.pluginmanager.register(_Memory())


def _release_programs():
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # glibc keeps freed memory otherwise


def _resident_bytes():
    """Returns the memory of this process; 0 where it is not known."""
    if sys.platform != "linux":
        return 0
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def default_hangup():
    """Lets SIGHUP end this process and those that a test starts, which nohup prevents."""
    previous = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, previous)


def _has_references():
    return all(map(importlib.util.find_spec, ("keras", "torch")))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Deselects the tests marked large unless `--large` is given, and runs slow files first.

    A slow file that began last would keep one process busy while the others are idle. The examples
    in docstrings are marked slow too, but each takes little time. The function also records whether
    the tests must cover every public function: those of the whole suite do, and those that are not
    slow do so with all references installed.
    """
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            item.add_marker("slow")
    found = {item.path.name for item in items}
    written = {path.name for path in Path(__file__).parent.rglob("test_*.py")}
    option = config.option
    expressions = ["", "not slow"] if _has_references() else [""]
    config.stash[_whole] = (
        found >= written and not option.keyword and option.markexpr in expressions
    )
    if not option.large:
        large = [item for item in items if item.get_closest_marker("large")]
        config.hook.pytest_deselected(items=large)
        items[:] = [item for item in items if item not in large]
    slow_files = {item.path for item in items if _is_slow(item)}
    items.sort(key=lambda item: item.path not in slow_files)


def _is_slow(item):
    marked = any(item.get_closest_marker(name) for name in ("slow", "large"))
    return marked and not isinstance(item, pytest.DoctestItem)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Merges the record of a worker process."""
    from tests import properties

    output = getattr(node, "workeroutput", {})
    node.config.stash[_whole] = output.get("whole", False)
    for *key, largest in output.get("record", []):
        properties.record[tuple(key)] = max(properties.record.get(tuple(key), 0.0), largest)


def pytest_sessionfinish(session, exitstatus):
    """Fails a run of the whole suite if a public function was not compared with a reference."""
    from tests import properties

    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["whole"] = session.config.stash[_whole]
        session.config.workeroutput["record"] = [
            [*key, error] for key, error in properties.record.items()
        ]
    elif exitstatus == 0 and session.config.stash.get(_whole, False) and properties.missing():
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter, config):
    """Prints the counts of stopped runs, and the largest errors against the references."""
    from tests import properties, stops

    reports = [report for found in terminalreporter.stats.values() for report in found]
    if lines := stops.table(reports):
        terminalreporter.section("stopped and resumed runs")
        terminalreporter.write_line("\n".join(lines))
    if properties.record:
        terminalreporter.section("largest errors, relative to the largest expected magnitude")
        for line in properties.table():
            terminalreporter.write_line(line)
    if config.stash.get(_whole, False) and (names := properties.missing()):
        terminalreporter.section("public functions without a reference")
        terminalreporter.write_line("The run fails, because no test compares these:", red=True)
        terminalreporter.write_line("\n".join(names), red=True)
