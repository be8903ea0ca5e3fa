"""A wheel installs the console scripts with the launchers and the recipes."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture
def site(tmp_path):
    """Returns a folder with the files of the wheel, placed as its configuration says."""
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    pairs = {name: name for name in wheel["packages"]} | wheel["force-include"]
    for source, target in pairs.items():
        copy, made = ROOT / source, tmp_path / target
        made.parent.mkdir(parents=True, exist_ok=True)
        if copy.is_file():
            shutil.copy(copy, made)
        else:
            shutil.copytree(copy, made, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize("script", PROJECT["project"]["scripts"])
def test_every_script_prints_its_help(script, site, tmp_path):
    module, function = PROJECT["project"]["scripts"][script].split(":")
    assert module == "jaxml_launchers"
    (work := tmp_path / "work").mkdir()
    code = f"import sys, {module}; sys.argv = [{script!r}, '--help']; {module}.{function}()"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Flags:" in done.stdout
    assert f"launch.{function}" in done.stdout
