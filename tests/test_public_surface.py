"""The public surface: documented, reachable by `import jaxml` alone, and used by the tests."""

import functools
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxml
from tests.properties import public_names

# Packages of pure functions; each of their public functions has a test against a reference.
PURE = [
    "activations", "initializers", "layers", "losses", "metrics", "normalize", "predictions",
    "regularizers",
]  # fmt: skip


@functools.cache
def identifiers():
    """All words of the test modules, this one excepted."""
    tests = Path(__file__).parent
    sources = [path.read_text() for path in tests.rglob("*.py") if path != Path(__file__)]
    return set(re.findall(r"\w+", "\n".join(sources)))


def members(package):
    module = getattr(jaxml, package)
    return {name: getattr(module, name) for name in public_names(module)}


@pytest.mark.parametrize("package", jaxml.__all__)
def test_packages_and_their_public_functions_and_classes_are_documented(package):
    documented = {package: getattr(jaxml, package), **members(package)}
    for name, member in documented.items():
        ours = getattr(member, "__module__", "").startswith("jaxml")
        if inspect.ismodule(member) or (
            ours and inspect.isroutine(member) | inspect.isclass(member)
        ):
            assert (member.__doc__ or "").strip(), f"jaxml.{package}.{name}"


@pytest.mark.parametrize("package", PURE)
def test_public_names_are_declared_and_tested(package):
    declared = getattr(jaxml, package).__all__
    assert len(set(declared)) == len(declared)
    assert not [name for name in declared if name.startswith("_")]
    assert not set(declared) - identifiers()


def test_one_import_reaches_every_public_name():
    names = [f"jaxml.{package}.{name}" for package in jaxml.__all__ for name in members(package)]
    code = "import jaxml\n" + "\n".join(names)
    subprocess.run([sys.executable, "-c", code], check=True)
