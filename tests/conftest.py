"""The suite runs strictly: shapes are checked, no implicit promotion, warnings are errors."""

import atexit
import shutil
import tempfile
from pathlib import Path

import jax
import pytest
from hypothesis import settings

import tests.typecheck  # noqa: F401 (named in pyproject.toml, where nothing imports it)

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Many tests compile the same tiny program.
_cache = tempfile.mkdtemp(prefix="jaxml-tests-")
atexit.register(shutil.rmtree, _cache, ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", _cache)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)

_whole = pytest.StashKey[bool]()

settings.register_profile("suite", deadline=None, max_examples=15, derandomize=True)
settings.load_profile("suite")


def pytest_collection_finish(session):
    """Notes whether the whole suite is about to run."""
    found = {item.path.name for item in session.items}
    written = {path.name for path in Path(__file__).parent.rglob("test_*.py")}
    session.stash[_whole] = found >= written and not session.config.option.keyword


def pytest_sessionfinish(session, exitstatus):
    """Fails a whole suite in which a public function met no reference."""
    from tests import laws

    if exitstatus == 0 and session.stash[_whole] and laws.missing():
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter, config):
    """Prints the largest errors against the references."""
    from tests import laws

    if laws.record:
        terminalreporter.section("largest errors, relative to the largest magnitude expected")
        for line in laws.table():
            terminalreporter.write_line(line)
    if terminalreporter._session.stash.get(_whole, False) and (names := laws.missing()):
        terminalreporter.section("public functions without a reference")
        terminalreporter.write_line("\n".join(names))
