"""Which machine an experiment fits."""

import contextlib
import math
from dataclasses import dataclass, replace
from typing import Any

from jaxml.errors import InputError, nearest
from jaxml.svm.command.scaling import SCALES
from jaxml.svm.estimators.linear_svc import LinearSVC
from jaxml.svm.estimators.linear_svr import LinearSVR
from jaxml.svm.estimators.svc import SVC
from jaxml.svm.estimators.svr import SVR

KERNELS = ("linear", "rbf", "poly", "sigmoid")
REGRESSION = ("epsilon_insensitive", "squared_epsilon_insensitive")
LOSSES = ("squared_hinge", "hinge", *REGRESSION)
INTERCEPTS = ("penalized", "free", "none")
MULTICLASS = ("one_vs_rest", "one_vs_one")


@dataclass(frozen=True)
class MachineSettings:
    """A machine and its scale of features; an empty name or None is what the machine has itself.

    Attributes:
      kernel: one of `KERNELS`.
      C: the price of an error, above 0.
      gamma: of rbf, poly and sigmoid: scale, auto, or a number above 0.
      degree: of poly, at least 0.
      coef0: of poly and sigmoid.
      loss: one of `LOSSES`; squared_hinge for one-vs-rest and hinge for kernels.
      multiclass: one_vs_rest, which is linear, or one_vs_one, in the dual.
      epsilon: half the width of the tube of regression, at least 0.
      penalty: l2, or l1 for the linear squared hinge.
      intercept: penalized, as liblinear has it, free, as libsvm has it, or none.
      tolerance: the relative gap, 1e-4, to which linear problems are solved; the violation of the
        optimality conditions, 1e-3, for kernels.
      cache_size: MiB for rows of the kernel.
      max_iter: Newton's steps of linear problems, rounds of kernels.
      scale: one of `jaxml.svm.command.scaling.SCALES`.
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
        """Whether it has targets in the place of classes."""
        return self.loss in REGRESSION

    @property
    def is_linear(self) -> bool:
        """Whether the weights are found without a kernel."""
        return self.kernel == "linear" and self.multiclass != "one_vs_one"

    def check(self) -> None:
        """Checks them.

        Raises:
          InputError: a setting that is not allowed, or not with another one.
        """
        for name, known in (
            ("kernel", KERNELS),
            ("loss", ("", *LOSSES)),
            ("multiclass", ("", *MULTICLASS)),
            ("intercept", ("", *INTERCEPTS)),
            ("penalty", ("l2", "l1")),
            ("scale", SCALES),
        ):
            value = getattr(self, name)
            if value not in known:
                allowed = ", ".join(filter(None, known))
                raise InputError(
                    f"{name}: {value!r} is not one of {allowed}{nearest(value, known)}"
                )
        self._check_numbers()
        if not self.is_linear:
            self._check_kernel()
        elif self.penalty == "l1" and self.loss not in ("", "squared_hinge"):
            raise InputError(f"penalty: l1 needs loss squared_hinge, not {self.loss}")

    def estimator(self) -> LinearSVC | LinearSVR | SVC | SVR:
        """The estimator that has not been fitted.

        Raises:
          InputError: as `check`.
        """
        self.check()
        full = self.filled()
        return full._linear() if self.is_linear else full._kernel_machine()

    def filled(self) -> "MachineSettings":
        """With what the machine has itself in the place of an empty name or None."""
        own = ("squared_hinge", "one_vs_rest", "penalized", 1e-4, 1000)
        if not self.is_linear:
            own = ("hinge", "one_vs_one", "free", 1e-3, -1)
        names = ("loss", "multiclass", "intercept", "tolerance", "max_iter")
        pairs = zip(names, own, strict=True)
        return replace(self, **{name: getattr(self, name) or value for name, value in pairs})

    def _check_numbers(self) -> None:
        for name in ("C", "tolerance", "cache_size", "max_iter"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name}: {value} is not allowed, it is above 0")
        for name in ("epsilon", "degree"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise InputError(
                    f"{name}: {value} is not allowed, it is a finite number of at least 0"
                )
        if not math.isfinite(self.coef0):
            raise InputError(f"coef0: {self.coef0} is not allowed, it is a finite number")
        self._gamma()

    def _check_kernel(self) -> None:
        machine = f"kernel {self.kernel}" if self.kernel != "linear" else "multiclass one_vs_one"
        for name, allowed in (
            ("multiclass", ("", "one_vs_one")),
            ("loss", ("", "hinge", "epsilon_insensitive")),
            ("intercept", ("", "free")),
            ("penalty", ("l2",)),
        ):
            value = getattr(self, name)
            if value not in allowed:
                only = " or ".join(filter(None, allowed))
                raise InputError(f"{name}: {value} is not allowed with {machine}, only {only}")

    def _linear(self) -> LinearSVC | LinearSVR:
        settings: dict[str, Any] = {
            "C": float(self.C),
            "tol": self.tolerance,
            "max_iter": self.max_iter,
            "fit_intercept": self.intercept != "none",
            "intercept_scaling": None if self.intercept == "free" else 1.0,
        }
        if self.is_regression:
            return LinearSVR(loss=self.loss, epsilon=self.epsilon, **settings)
        return LinearSVC(self.penalty, self.loss, **settings)

    def _kernel_machine(self) -> SVC | SVR:
        settings: dict[str, Any] = {
            "C": float(self.C),
            "kernel": self.kernel,
            "gamma": self._gamma(),
            "degree": self.degree,
            "coef0": self.coef0,
            "tol": self.tolerance,
            "cache_size": self.cache_size,
            "max_iter": self.max_iter,
        }
        return SVR(epsilon=self.epsilon, **settings) if self.is_regression else SVC(**settings)

    def _gamma(self) -> str | float:
        if self.gamma in ("scale", "auto"):
            return self.gamma
        with contextlib.suppress(ValueError):
            if 0 < (value := float(self.gamma)) < math.inf:
                return value
        raise InputError(f"gamma: {self.gamma!r} is not one of scale, auto or a number above 0")
