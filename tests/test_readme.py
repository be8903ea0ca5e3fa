"""What the README shows is so."""

import re
import runpy
from pathlib import Path

import jax
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
PROSE = re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_the_code_runs(block, tmp_path):
    path = tmp_path / "block.py"
    path.write_text(block)
    values = runpy.run_path(str(path))
    kinds = (jax.Array, np.ndarray)
    arrays = {name: value for name, value in values.items() if isinstance(value, kinds)}
    assert arrays
    for name, array in arrays.items():
        assert np.isfinite(array).all(), name


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", PROSE))))
def test_every_link_leads_somewhere(link):
    assert (ROOT / link).exists()


def test_every_recipe_that_is_named_is_there():
    named = set(re.findall(r"configs/\w+\.py", TEXT)) - {"configs/NAME.py"}
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


def test_recipes_that_promise_results_have_them():
    results = TEXT.split("## Results")[1]
    promising = [p for p in (ROOT / "configs").glob("*.py") if "README's results" in p.read_text()]
    assert promising
    # The default recipe goes without its name.
    named = [p for p in promising if f"configs/{p.name}" in results]
    assert {p.stem for p in promising} - {p.stem for p in named} <= {"digits_resnet20v1"}
