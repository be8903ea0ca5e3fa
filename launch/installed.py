"""Console scripts of an installed jaxml; `jaxml-train` runs `launch.train`.

A wheel contains this file as `jaxml_launchers/__init__.py`, next to `launch` and `configs`; they
can be imported in the processes of these scripts only. An editable install runs those of the clone.
"""

import runpy
import sys
from pathlib import Path

import jaxml

_CLONE = Path(jaxml.__file__).parent.parent
_ROOT = _CLONE if (_CLONE / "pyproject.toml").exists() else Path(__file__).parent


def train() -> None:
    """Runs `launch.train`."""
    _run("train")


def convert() -> None:
    """Runs `launch.convert`."""
    _run("convert")


def evaluate() -> None:
    """Runs `launch.evaluate`."""
    _run("evaluate")


def doctor() -> None:
    """Runs `launch.doctor`."""
    _run("doctor")


def export() -> None:
    """Runs `launch.export`."""
    _run("export")


def models() -> None:
    """Runs `launch.models`."""
    _run("models")


def predict() -> None:
    """Runs `launch.predict`."""
    _run("predict")


def report() -> None:
    """Runs `launch.report`."""
    _run("report")


def show_batch() -> None:
    """Runs `launch.show_batch`."""
    _run("show_batch")


def study() -> None:
    """Runs `launch.study`."""
    _run("study")


def svm() -> None:
    """Runs `launch.svm`."""
    _run("svm")


def verify() -> None:
    """Runs `launch.verify`."""
    _run("verify")


def _run(name: str) -> None:
    sys.path.insert(0, str(_ROOT))
    runpy.run_module(f"launch.{name}", run_name="__main__", alter_sys=True)
