"""The files of scikit-learn are found without importing it."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from jaxml.data.sources import _embedded as embedded
from jaxml.errors import InputError

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_the_sets_are_read_without_importing_scikit_learn():
    code = (
        "import sys\nfrom pathlib import Path\nfrom jaxml.data import DATASETS\n"
        "for name in ('digits', 'diabetes', 'breast_cancer'):\n    DATASETS[name](Path())\n"
        "sys.exit('sklearn' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_file_that_is_not_there_is_told(monkeypatch):
    with pytest.raises(
        InputError, match=r"config.data.name must be .* scikit-learn, which has no words\.csv"
    ):
        embedded.path("words.csv")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        InputError,
        match=r"config.data.name must be .* scikit-learn, which has no digits\.csv\.gz",
    ):
        embedded.path("digits.csv.gz")
