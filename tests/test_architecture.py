"""Data flows one way, and neither TensorFlow nor torch is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = sorted((ROOT / "jaxml").rglob("*.py"))
LAUNCHERS = sorted((ROOT / "launch").glob("*.py"))

# Each package may import those above it and those in its own line.
ORDER = [
    {"errors", "io", "types"},
    {"_cpu"},
    {"activations", "initializers", "layers", "losses", "normalize", "regularizers"},
    {"metrics", "predictions", "svm"},
    {"config"},
    {"optim"},
    {"models"},
    {"weights"},
    {"data", "reporting"},
    {"training"},
    {"studies"},
]


def _package(path):
    return path.relative_to(ROOT / "jaxml").parts[0].removesuffix(".py")


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_package_has_its_place():
    assert {_package(path) for path in PACKAGE} - {"__init__"} == set().union(*ORDER)


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))
def test_data_flows_one_way(path):
    imports = list(_imports(path))
    assert not [name for name in imports if name.split(".")[0] in ("launch", "configs", "tests")]
    if path == ROOT / "jaxml/__init__.py":  # its imports wait for the first use
        return
    place = next(i for i, packages in enumerate(ORDER) if _package(path) in packages)
    allowed = set().union(*ORDER[: place + 1])
    used = {name.split(".")[1] for name in imports if name.startswith("jaxml.")}
    assert used <= allowed


@pytest.mark.slow
def test_flags_are_read_by_launchers_only():
    for path in PACKAGE:
        assert not [name for name in _imports(path) if name.startswith("absl")], path


def test_the_top_level_is_what_the_map_shows():
    visible = {p.name for p in ROOT.iterdir() if not p.name.startswith((".", "__"))} - {"runs"}
    assert visible == {
        "LICENSE", "README.md", "configs", "jaxml", "launch", "pyproject.toml", "tests"
    }  # fmt: skip


@pytest.mark.slow
def test_no_module_brings_in_tensorflow_torch_or_matplotlib():
    modules = [
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for p in [*PACKAGE, *LAUNCHERS]
    ]
    code = (
        "import importlib, sys\nfrom absl import flags\n"
        f"before = set(flags.FLAGS)\nfor name in {modules}:\n"
        "    importlib.import_module(name)\n"
        "    for flag in set(flags.FLAGS) - before:\n"  # some are of more than one launcher
        "        delattr(flags.FLAGS, flag)\n"
        "found = {'tensorflow', 'torch', 'keras', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'brings in {found}' if found else 0)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.slow
def test_importing_jaxml_imports_nothing_else():
    code = (
        "import sys, jaxml\n"
        "assert not {'jax', 'flax', 'optax', 'numpy', 'sklearn'} & set(sys.modules), 'not lazy'\n"
        "for name in jaxml.__all__:\n    getattr(jaxml, name)\n"
        "assert set(jaxml.__all__) <= set(dir(jaxml))\n"
        "assert jaxml.losses.hinge.__name__ == 'hinge'"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_public_packages_are_those_of_the_folder():
    import jaxml

    public = {name for name in map(_package, PACKAGE) if not name.startswith("_")}
    assert set(jaxml.__all__) == public
    with pytest.raises(AttributeError, match="module 'jaxml' has no attribute 'keras'"):
        jaxml.keras  # noqa: B018
