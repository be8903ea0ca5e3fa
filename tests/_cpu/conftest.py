"""Fixtures of the tests of the fast paths."""

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jaxml._cpu import _convolution


@pytest.fixture
def any_size(monkeypatch):
    """Small convolutions call oneDNN, too; such programs cannot be kept."""
    monkeypatch.setattr(_convolution, "LEAST_PRODUCTS", 0)
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_enable_compilation_cache", True)
    compilation_cache.reset_cache()
