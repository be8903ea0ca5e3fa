"""Keras on torch: on JAX it relies on promotion that the suite forbids."""

import os

import pytest


@pytest.fixture
def keras(tmp_path_factory):
    pytest.importorskip("torch")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    os.environ.setdefault("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
    return pytest.importorskip("keras")
