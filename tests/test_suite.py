"""A test that ends or blocks its process fails the suite, which does not wait for it forever."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

OPTIONS = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["tool"][
    "pytest"
]["ini_options"]
XDIST = [word for word in OPTIONS["addopts"] if word.startswith(("--dist", "--max-worker"))]


@pytest.mark.parametrize("ending", ["os.abort()", "time.sleep(600)"])
def test_a_worker_that_is_lost_ends_the_suite_with_a_failure(ending, tmp_path):
    body = "def test_1(): pass\ndef test_2(): {}\ndef test_3(): pass\n"
    (tmp_path / "test_lost.py").write_text(f"import os, time\n{body.format(ending)}")
    (tmp_path / "test_other.py").write_text(body.format("pass"))
    config = tmp_path / "pytest.ini"
    config.write_text(
        "[pytest]\nfaulthandler_timeout = 3\n"
        f"faulthandler_exit_on_timeout = {OPTIONS['faulthandler_exit_on_timeout']}\n"
    )
    assert 0 < OPTIONS["faulthandler_timeout"] <= 900
    command = [sys.executable, "-m", "pytest", "-q", "-n2", *XDIST, "-c", str(config)]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "crashed while running 'test_lost.py::test_2'" in done.stdout
