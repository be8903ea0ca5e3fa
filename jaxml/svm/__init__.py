"""Support vector machines: objectives as pure functions, solvers, estimators and libsvm files.

`jaxml.svm.SVC` and the other estimators have scikit-learn's interface. Modules are imported on
first use, so that scikit-learn is only loaded where it is needed.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxml.svm import (
        calibration,
        estimators,
        files,
        grid,
        kernel,
        kernels,
        linear,
        nystroem,
        objectives,
        random_features,
        reductions,
    )
    from jaxml.svm.estimators import SVC, SVR, LinearSVC, LinearSVR, NuSVC, OneClassSVM

__all__ = [
    "SVC", "SVR", "LinearSVC", "LinearSVR", "NuSVC", "OneClassSVM", "calibration", "estimators",
    "files", "grid", "kernel", "kernels", "linear", "nystroem", "objectives", "random_features",
    "reductions",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in __all__ and name.islower():  # a module, not a class
        return importlib.import_module(f"jaxml.svm.{name}")
    if name in __all__:
        return getattr(importlib.import_module("jaxml.svm.estimators"), name)
    raise AttributeError(f"module 'jaxml.svm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
