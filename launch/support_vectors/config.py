"""Config of a support vector machine on the command line."""

import contextlib
import math
from dataclasses import dataclass, replace
from typing import Any

from jaxml.errors import InputError, choose
from jaxml.svm import SVC, SVR, LinearSVC, LinearSVR
from launch.support_vectors.scaling import SCALES

KERNELS = ("linear", "rbf", "poly", "sigmoid")
REGRESSION = ("epsilon_insensitive", "squared_epsilon_insensitive")
LOSSES = ("squared_hinge", "hinge", *REGRESSION)
INTERCEPTS = ("penalized", "free", "none")
MULTICLASS = ("one_vs_rest", "one_vs_one")


@dataclass(frozen=True)
class SVMConfig:
    """An estimator and the scaling of its features; each field is a flag of `launch.svm`.

    An empty name or None selects the default of the estimator, see `filled`.

    Attributes:
      kernel: one of `KERNELS`.
      C: penalty parameter, > 0.
      gamma: coefficient of rbf, poly and sigmoid: scale, auto, or a number > 0.
      degree: degree of poly, >= 0.
      coef0: constant of poly and sigmoid.
      loss: one of `LOSSES`.
      multiclass: one_vs_rest, for linear kernels, or one_vs_one, which solves the dual.
      epsilon: half the width of the insensitive tube of a regression, >= 0.
      penalty: l2, or l1 for the linear squared hinge loss.
      intercept: penalized, as in liblinear, free, as in libsvm, or none.
      tolerance: relative duality gap of linear estimators; violation of the optimality conditions
        of kernel estimators.
      cache_size: memory in MiB for rows of the kernel matrix.
      max_iter: limit of Newton steps of linear estimators, of rounds of kernel estimators.
      scale: one of `launch.support_vectors.scaling.SCALES`.
    """

    kernel: str = "linear"
    C: float = 1.0
    gamma: str = "scale"
    degree: int = 3
    coef0: float = 0.0
    loss: str = ""
    multiclass: str = ""
    epsilon: float = 0.1
    penalty: str = "l2"
    intercept: str = ""
    tolerance: float | None = None
    cache_size: float = 2000.0
    max_iter: int | None = None
    scale: str = "none"

    @property
    def is_regression(self) -> bool:
        """Returns whether the labels are real targets."""
        return self.loss in REGRESSION

    @property
    def is_linear(self) -> bool:
        """Returns whether a linear estimator is fitted."""
        return self.kernel == "linear" and self.multiclass != "one_vs_one"

    def check(self) -> None:
        """Raises `InputError` if a value is invalid, or inconsistent with another one."""
        for name, known in (
            ("kernel", KERNELS),
            ("loss", ("", *LOSSES)),
            ("multiclass", ("", *MULTICLASS)),
            ("intercept", ("", *INTERCEPTS)),
            ("penalty", ("l2", "l1")),
            ("scale", SCALES),
        ):
            if getattr(self, name) not in known:
                choose(dict.fromkeys(filter(None, known)), getattr(self, name), f"--{name}")
        self._check_numbers()
        if not self.is_linear:
            self._check_kernel()
        elif self.penalty == "l1" and self.loss not in ("", "squared_hinge"):
            raise InputError(f"--loss must be squared_hinge for --penalty=l1, got {self.loss}")

    def estimator(self) -> LinearSVC | LinearSVR | SVC | SVR:
        """Returns the unfitted estimator."""
        self.check()
        full = self.filled()
        options: dict[str, Any] = {
            "C": float(full.C),
            "tol": full.tolerance,
            "max_iter": full.max_iter,
        }
        if full.is_regression:
            options["epsilon"] = full.epsilon
        if full.is_linear:
            options["fit_intercept"] = full.intercept != "none"
            options["intercept_scaling"] = None if full.intercept == "free" else 1.0
            if full.is_regression:
                return LinearSVR(loss=full.loss, **options)
            return LinearSVC(full.penalty, full.loss, **options)
        options |= {
            name: getattr(full, name) for name in ("kernel", "degree", "coef0", "cache_size")
        }
        options["gamma"] = full._gamma()
        return SVR(**options) if full.is_regression else SVC(**options)

    def filled(self) -> "SVMConfig":
        """Replaces empty names and None by the estimator's defaults."""
        defaults = ("squared_hinge", "one_vs_rest", "penalized", 1e-4, 1000)
        if not self.is_linear:
            defaults = ("hinge", "one_vs_one", "free", 1e-3, -1)
        names = ("loss", "multiclass", "intercept", "tolerance", "max_iter")
        pairs = zip(names, defaults, strict=True)
        return replace(self, **{name: getattr(self, name) or value for name, value in pairs})

    def _check_numbers(self) -> None:
        for name in ("C", "tolerance", "cache_size", "max_iter"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"--{name} must be > 0, got {value}")
        for name in ("epsilon", "degree"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise InputError(f"--{name} must be a finite number >= 0, got {value}")
        if not math.isfinite(self.coef0):
            raise InputError(f"--coef0 must be a finite number, got {self.coef0}")
        self._gamma()

    def _check_kernel(self) -> None:
        kind = f"--kernel={self.kernel}" if self.kernel != "linear" else "--multiclass=one_vs_one"
        for name, allowed in (
            ("multiclass", ("", "one_vs_one")),
            ("loss", ("", "hinge", "epsilon_insensitive")),
            ("intercept", ("", "free")),
            ("penalty", ("l2",)),
        ):
            value = getattr(self, name)
            if value not in allowed:
                rule = " or ".join(filter(None, allowed))
                raise InputError(f"--{name} must be {rule} for {kind}, got {value}")

    def _gamma(self) -> str | float:
        if self.gamma in ("scale", "auto"):
            return self.gamma
        with contextlib.suppress(ValueError):
            if 0 < (value := float(self.gamma)) < math.inf:
                return value
        raise InputError(f"--gamma must be scale, auto or a number > 0, got {self.gamma!r}")
