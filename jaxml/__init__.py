"""Deep learning as pure functions in JAX, composed by Flax Linen, trained by one jitted step.

`import jaxml` suffices for `jaxml.losses.hinge`: packages are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxml import (
        activations,
        config,
        data,
        errors,
        initializers,
        io,
        layers,
        losses,
        metrics,
        models,
        normalize,
        optim,
        predictions,
        regularizers,
        reporting,
        studies,
        svm,
        training,
        types,
        weights,
    )

__version__ = "0.1.0"

__all__ = [
    "activations",
    "config",
    "data",
    "errors",
    "initializers",
    "io",
    "layers",
    "losses",
    "metrics",
    "models",
    "normalize",
    "optim",
    "predictions",
    "regularizers",
    "reporting",
    "studies",
    "svm",
    "training",
    "types",
    "weights",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"jaxml.{name}")
    raise AttributeError(f"module 'jaxml' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
