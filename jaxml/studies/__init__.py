"""Claims of a deep-learning course as experiments: measurement, criterion, figure and verdict.

`STUDIES` names them, `load` imports one, `Study.run` measures it, and `render_page` returns
findings as one self-contained HTML page. `python -m launch.study` does all of this.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxml.errors import choose

if TYPE_CHECKING:
    from jaxml.studies._page import render_page
    from jaxml.studies._study import (
        Check,
        Finding,
        Panel,
        Settings,
        Study,
        Table,
        confidence_interval,
    )  # fmt: skip

__all__ = [
    "STUDIES", "Check", "Finding", "Panel", "Settings", "Study", "Table", "confidence_interval",
    "load", "render_page",
]  # fmt: skip

# The module of each study, in the order of the course.
STUDIES: dict[str, str] = {
    name: f"jaxml.studies.{name}"
    for name in (
        "input_normalization", "zero_initialization", "weight_scale", "variance_propagation",
        "batch_normalization", "dropout", "pointwise_convolution", "heads", "degradation",
        "resnet_versions", "inception_residual", "classification_losses", "activation_functions",
        "sparsity", "sigmoid_and_softmax", "optimizers", "margins", "without_labels",
    )
}  # fmt: skip


def load(name: str) -> "Study":
    """Imports a study.

    Args:
      name: a key of `STUDIES`.

    Raises:
      InputError: there is no such study.

    Example:
      >>> load("weight_scale").text["Title"]
      'Weights above and below the identity'
    """
    return importlib.import_module(choose(STUDIES, name, "`name`")).STUDY


def __getattr__(name: str) -> Any:
    if name in __all__:
        module = "_page" if name == "render_page" else "_study"
        return getattr(importlib.import_module(f"jaxml.studies.{module}"), name)
    raise AttributeError(f"module 'jaxml.studies' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
