"""Config of a support vector machine on the command line."""

import contextlib
import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jaxml import svm
from jaxml.errors import InputError, choose

if TYPE_CHECKING:
    from jaxml.svm import SVC, SVR, LinearSVC, LinearSVR

REGRESSION = ("epsilon_insensitive", "squared_epsilon_insensitive")
SCALES = ("none", "min_max", "standard", "max_abs")
CHOICES = {
    "kernel": ("linear", "rbf", "poly", "sigmoid"),
    "loss": ("", "squared_hinge", "hinge", *REGRESSION),
    "multiclass": ("", "one_vs_rest", "one_vs_one"),
    "intercept": ("", "penalized", "free", "none"),
    "penalty": ("l2", "l1"),
    "scale": SCALES,
}


def _flag(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class SVMConfig:
    """An estimator and the scaling of its features; each field is a flag of `launch.svm`.

    An empty name or None selects the default of the estimator, see `filled`.
    """

    kernel: str = _flag("linear", "linear, rbf, poly or sigmoid")
    C: float = _flag(1.0, "penalty parameter")
    gamma: str = _flag("scale", "coefficient of rbf, poly, sigmoid: scale, auto or a number")
    degree: int = _flag(3, "degree of poly")
    coef0: float = _flag(0.0, "constant of poly and sigmoid")
    loss: str = _flag(
        "",
        "squared_hinge (default of one_vs_rest), hinge (default of one_vs_one), "
        "epsilon_insensitive or squared_epsilon_insensitive",
    )
    multiclass: str = _flag(
        "", "one_vs_rest for linear kernels, or one_vs_one, which solves the dual"
    )
    epsilon: float = _flag(0.1, "half the width of the insensitive tube of a regression")
    penalty: str = _flag("l2", "l2, or l1 for the linear squared hinge loss")
    intercept: str = _flag(
        "",
        "penalized (default of one_vs_rest, as in liblinear), free (default of one_vs_one, as in "
        "libsvm) or none",
    )
    tolerance: float | None = _flag(
        None,
        "relative duality gap of linear estimators (default 1e-4), or violation of the optimality "
        "conditions of kernel estimators (default 1e-3)",
    )
    cache_size: float = _flag(2000.0, "memory in MiB for rows of the kernel matrix")
    max_iter: int | None = _flag(None, "limit of Newton steps, or of rounds of kernel estimators")
    scale: str = _flag("none", "scaling of the features: none, min_max, standard or max_abs")

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
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                choose(dict.fromkeys(filter(None, known)), getattr(self, name), f"--{name}")
        self._check_numbers()
        if not self.is_linear:
            self._check_kernel()
        elif self.penalty == "l1" and self.loss not in ("", "squared_hinge"):
            raise InputError(f"--loss must be squared_hinge for --penalty=l1, got {self.loss}")

    def estimator(self) -> "LinearSVC | LinearSVR | SVC | SVR":
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
            options |= {
                "loss": full.loss,
                "fit_intercept": full.intercept != "none",
                "intercept_scaling": None if full.intercept == "free" else 1.0,
            }
            if full.is_regression:
                return svm.LinearSVR(**options)
            return svm.LinearSVC(full.penalty, **options)
        names = ("kernel", "degree", "coef0", "cache_size")
        options |= {name: getattr(full, name) for name in names} | {"gamma": full._gamma()}
        return svm.SVR(**options) if full.is_regression else svm.SVC(**options)

    def filled(self) -> "SVMConfig":
        """Replaces empty names and None by the estimator's defaults."""
        defaults = ("squared_hinge", "one_vs_rest", "penalized", 1e-4, 1000)
        if not self.is_linear:
            defaults = ("hinge", "one_vs_one", "free", 1e-3, -1)
        names = ("loss", "multiclass", "intercept", "tolerance", "max_iter")
        values = {
            name: getattr(self, name) or value for name, value in zip(names, defaults, strict=True)
        }
        return dataclasses.replace(self, **values)

    def _check_numbers(self) -> None:
        for name in ("C", "tolerance", "cache_size", "max_iter"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"--{name} must be > 0, got {value}")
        for name, least, rule in (
            ("epsilon", 0.0, "a finite number >= 0"),
            ("degree", 0.0, "a finite number >= 0"),
            ("coef0", -math.inf, "a finite number"),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= least):
                raise InputError(f"--{name} must be {rule}, got {value}")
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
