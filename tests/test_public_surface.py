"""The public surface: documented, reachable by `import jaxml` alone, and used by the tests."""

import functools
import inspect
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import jaxml

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
    return {name: getattr(module, name) for name in getattr(module, "__all__", [])}


@pytest.mark.parametrize("package", jaxml.__all__)
def test_packages_and_their_public_functions_and_classes_are_documented(package):
    documented = {package: getattr(jaxml, package), **members(package)}
    for name, member in documented.items():
        code = inspect.isroutine(member) or inspect.isclass(member)
        ours = code and member.__module__.startswith("jaxml")
        if ours or inspect.ismodule(member):
            assert (member.__doc__ or "").strip(), f"jaxml.{package}.{name}"


@pytest.mark.parametrize("package", PURE)
def test_public_names_are_declared_and_tested(package):
    declared = getattr(jaxml, package).__all__
    assert len(set(declared)) == len(declared)
    assert not [name for name in declared if name.startswith("_")]
    types_only = {n for n, m in members(package).items() if isinstance(m, types.UnionType)}
    assert not set(declared) - types_only - identifiers()


@pytest.mark.slow
def test_one_import_reaches_every_public_name():
    names = [f"jaxml.{package}.{name}" for package in jaxml.__all__ for name in members(package)]
    code = "import jaxml\n" + "\n".join(names)
    subprocess.run([sys.executable, "-c", code], check=True)
