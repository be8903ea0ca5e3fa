"""Every README shows code that runs, links that lead somewhere and recipes that exist."""

import re
import runpy
from pathlib import Path

import jax
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
READMES = {name: (ROOT / name / "README.md").read_text() for name in (".", "configs", "launch")}
TEXT = READMES["."]
LINKS = [
    (folder, link)
    for folder, text in READMES.items()
    for link in re.findall(
        r"\]\((?!http)([^)#]+)\)", re.sub("```.*?```", "", text, flags=re.DOTALL)
    )
]


@pytest.mark.slow
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


@pytest.mark.parametrize(("folder", "link"), LINKS)
def test_every_link_leads_somewhere(folder, link):
    assert (ROOT / folder / link).exists()


def test_every_recipe_that_is_named_exists():
    named = set(re.findall(r"configs/(\w+)\.py", "".join(READMES.values()))) - {"NAME"}
    named |= set(re.findall(r"^\| `(\w+)`", READMES["configs"], re.MULTILINE))
    assert len(named) > 5
    assert not [name for name in named if not (ROOT / "configs" / f"{name}.py").exists()]


def test_recipes_that_promise_results_have_them():
    recipes = (ROOT / "configs").glob("*.py")
    promising = {p.stem for p in recipes if "configs/README.md" in p.read_text()}
    assert promising
    assert promising <= set(re.findall(r"^\| `(\w+)`", READMES["configs"], re.MULTILINE))


def test_the_readme_is_short():
    assert len(TEXT.splitlines()) < 250
