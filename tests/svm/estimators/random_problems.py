"""Random problems for the kernel estimators, and what their solutions must satisfy.

The data has random scales and offsets, the penalty parameter and the kernel's width span orders of
magnitude, and some samples weigh nothing. Primal, dual and violation are recomputed in float64 from
the fitted attributes, with a kernel matrix of SciPy's distances and NumPy's products.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from sklearn import svm

from jaxml.svm import SVC, SVR, NuSVC, OneClassSVM

ESTIMATORS = {"SVC": SVC, "NuSVC": NuSVC, "SVR": SVR, "OneClassSVM": OneClassSVM}


@dataclass
class Case:
    """One random problem.

    Attributes:
      name: of the estimator.
      settings: of both estimators.
      x: `[samples, features]`.
      y: labels or targets.
      weight: `[samples]`.
    """

    name: str
    settings: dict[str, Any]
    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray

    @property
    def gram(self) -> np.ndarray:
        """`[samples, samples]` float64."""
        s, x = self.settings, np.asarray(self.x, np.float64)
        if s["kernel"] == "rbf":
            return np.exp(-s["gamma"] * cdist(x, x, "sqeuclidean"))
        if s["kernel"] == "linear":
            return x @ x.T
        inner = s["gamma"] * (x @ x.T) + s["coef0"]
        return inner ** s["degree"]


def random_case(name: str, seed: int) -> Case:
    """A problem of one estimator."""
    rng = np.random.default_rng([seed, len(name)])
    count, features = int(rng.integers(8, 180)), int(rng.integers(1, 9))
    latent = rng.normal(size=(count, features))
    signal = latent[:, 0] + np.sin(2 * latent[:, -1]) + rng.uniform(0, 1) * rng.normal(size=count)
    kernel = str(rng.choice(["rbf", "linear", "poly"]))
    scale = 10.0 ** rng.uniform(-2, 3, size=features if rng.random() < 0.3 else 1)
    offset = rng.choice([0.0, 0.0, 1.0, 1e3]) * scale if kernel != "poly" else 0.0
    x = latent * scale + offset
    settings: dict[str, Any] = {"kernel": kernel}
    variance = float(np.var(latent * scale, axis=0).sum())
    settings["gamma"] = 10.0 ** rng.uniform(-2, 1.5) / variance
    if kernel == "poly":
        settings |= {"degree": int(rng.integers(1, 5)), "coef0": float(rng.choice([0.0, 1.0]))}
    if name in ("SVC", "SVR"):
        settings["C"] = 10.0 ** rng.uniform(-3, 4 if kernel == "rbf" else 2)
    y = signal
    if name == "SVR":
        target_scale = 10.0 ** rng.uniform(-1, 2)
        settings["epsilon"] = float(rng.choice([0.0, 0.1, 0.5])) * target_scale
        y = signal * target_scale + rng.choice([0.0, 10.0, 1e4]) * target_scale
    elif name != "OneClassSVM":
        y = (signal > np.quantile(signal, rng.uniform(0.2, 0.8))).astype(int)
    if rng.random() < 0.2:  # samples that occur several times
        twice = rng.integers(0, count, size=count // 4)
        x[twice], y[twice] = x[twice[::-1]], y[twice[::-1]]
    weight = np.ones(count)
    if rng.random() < 0.3:
        weight = rng.choice([0.0, 0.5, 1.0, 3.0], size=count)
        weight[[int(np.argmin(y)), int(np.argmax(y))]] = 1.0  # of either class one
    if name == "NuSVC":
        mass = np.bincount(y, weight)
        settings["nu"] = float(rng.uniform(0.05, 0.95) * 2 * mass.min() / mass.sum())
    if name == "OneClassSVM":
        settings["nu"] = float(rng.uniform(0.02, 0.9))
    return Case(name, settings, x, y, weight)


def faults(case: Case, *, dtype: Any = np.float64) -> tuple[list[str], bool]:
    """What is wrong with the fit of a case, and whether it warned that it did not converge."""
    case.x = case.x.astype(dtype)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = ESTIMATORS[case.name](**case.settings).fit(
                case.x, case.y, sample_weight=case.weight
            )
        except (ArithmeticError, TypeError, ValueError, RuntimeError) as error:
            return [f"{type(error).__name__}: {error}"], False
    warned = any("violation" in str(w.message) for w in caught)
    if warned != (model.fit_status_ == 1):
        return ["the status contradicts the warnings"], warned
    return list(_faults_of(case, model)), warned


def _faults_of(case: Case, model: Any) -> Any:
    found = _Recomputed(case, model)
    if not np.isfinite(found.beta).all() or not np.isfinite(model.intercept_).all():
        yield "a coefficient is not finite"
        return
    yield from found.infeasible()
    size = max(abs(found.primal), abs(found.dual), found.magnitude * 1e-4)
    reported = float(np.sum(model.duality_gap_)) * found.factor**2
    # Without a margin both thresholds are 0 up to rounding, and here they are 0.
    noise = 1e-7 * size if found.has_margin else 1e-7 * found.magnitude
    # The outputs are rounded by this much in the recomputation as well.
    noise += np.finfo(np.float64).eps * found.magnitude * float(found.value.sum())
    is_known = found.has_margin or model.fit_status_ == 0
    if is_known and abs(found.gap - reported) > noise + 0.02 * abs(found.gap):
        yield f"the gap is {found.gap:.3g}, {reported:.3g} was reported"
    if model.fit_status_ == 0 and found.violation > 1e-3 * (1 + 1e-3) + 1e-9 * found.magnitude:
        yield f"the violation is {found.violation:.3g} where the status is 0"
    # No point has a lower primal than any dual: libsvm's solution is bounded by ours.
    peer = _peer(case)
    if peer is not None and peer < found.primal - found.gap - 1e-7 * size:
        yield f"libsvm has {peer:.8g}, less than the dual {found.primal - found.gap:.8g}"
    if peer is not None and model.fit_status_ == 0:
        excess = found.primal - peer
        if excess > abs(found.gap) + 1e-6 * size:
            yield f"libsvm has {peer:.8g}, the primal is {found.primal:.8g}"


class _Recomputed:
    """Primal, dual and violation in float64, divided by the margin for NuSVC."""

    def __init__(self, case: Case, model: Any) -> None:
        gram = case.gram
        self.beta = np.zeros(len(case.x))
        self.beta[model.support_] = model.dual_coef_[0]
        self.case, self.model = case, model
        output = gram @ self.beta
        self.square = float(self.beta @ output)
        self.magnitude = float(np.abs(gram).max() * np.abs(self.beta).sum())
        level = float(np.ravel(model.intercept_)[0])
        self.factor, self.has_margin = 1.0, True
        getattr(self, f"_{case.name.lower()}")(case, output, level)
        self.gap = self.primal - self.dual

    def _svc(self, case: Case, output: np.ndarray, level: float) -> None:
        sign = np.where(case.y == 1, 1.0, -1.0)
        self.upper = case.settings["C"] * case.weight
        self.value = sign * self.beta
        hinge = np.maximum(0, 1 - sign * (output + level))
        self.primal = self.square / 2 + float(self.upper @ hinge)
        self.dual = float(self.value.sum()) - self.square / 2
        self.total, self.wanted = float(self.beta.sum()), 0.0
        self.violation = _violation(self.value, self.upper, sign, sign - output)

    def _nusvc(self, case: Case, output: np.ndarray, level: float) -> None:
        sign = np.where(case.y == 1, 1.0, -1.0)
        self.value = sign * self.beta
        nu, mass = case.settings["nu"], float(case.weight.sum())
        # The coefficients are divided by the margin: their sum is nu * mass over the margin.
        margin = nu * mass / max(float(self.value.sum()), 1e-300)
        rho = 1.0
        if abs(margin - 1) < 1e-9:  # there is none, nothing was divided
            margin, rho, self.has_margin = 1.0, 0.0, False
        self.factor = 1 / margin
        self.upper = case.weight / margin
        hinge = np.maximum(0, rho - sign * (output + level))
        self.primal = self.square / 2 + float(self.upper @ hinge) - nu * mass / margin * rho
        self.dual = -self.square / 2
        self.total, self.wanted = float(self.beta.sum()), 0.0
        sides = [sign > 0, sign < 0]
        self.violation = max(
            _violation(self.value[s], self.upper[s], sign[s], -output[s]) for s in sides
        )

    def _svr(self, case: Case, output: np.ndarray, level: float) -> None:
        epsilon = case.settings["epsilon"]
        self.upper = case.settings["C"] * case.weight
        self.value = np.abs(self.beta)
        target = case.y - case.y.mean()
        level = level - case.y.mean()
        lost = np.maximum(0, np.abs(output + level - target) - epsilon)
        self.primal = self.square / 2 + float(self.upper @ lost)
        self.dual = float(self.beta @ target) - epsilon * float(self.value.sum())
        self.dual -= self.square / 2
        self.total, self.wanted = float(self.beta.sum()), 0.0
        up, down = np.maximum(self.beta, 0), np.maximum(-self.beta, 0)
        residual = target - output
        self.violation = _violation(
            np.concatenate([up, down]),
            np.concatenate([self.upper, self.upper]),
            np.repeat([1.0, -1.0], len(up)),
            np.concatenate([residual - epsilon, residual + epsilon]),
        )

    def _oneclasssvm(self, case: Case, output: np.ndarray, level: float) -> None:
        nu, mass = case.settings["nu"], float(case.weight.sum())
        self.upper, self.value, rho = case.weight, self.beta, -level
        lost = float(self.upper @ np.maximum(0, rho - output))
        self.primal = self.square / 2 + lost - nu * mass * rho
        self.dual = -self.square / 2
        self.total, self.wanted = float(self.beta.sum()), nu * mass
        self.violation = _violation(self.value, self.upper, np.ones(len(output)), -output)

    def infeasible(self) -> Any:
        low, high = self.value.min(), (self.value - self.upper).max()
        limit = 1e-9 * max(self.upper.max(), 1e-300)
        if low < -limit or high > limit:
            yield f"variables are outside their bounds by {max(-low, high):.3g}"
        if abs(self.total - self.wanted) > 1e-9 * max(np.abs(self.beta).sum(), 1e-300):
            yield f"the variables sum to {self.total:.3g}, not {self.wanted:.3g}"


def _violation(value: np.ndarray, upper: np.ndarray, sign: np.ndarray, score: np.ndarray) -> float:
    """Of the maximal violating pair, over samples that have a variable."""
    inside = 1e-10 * upper
    below, above = value < upper - inside, value > inside
    rising = np.where(sign > 0, below, above) & (upper > 0)
    falling = np.where(sign > 0, above, below) & (upper > 0)
    if not rising.any() or not falling.any():
        return 0.0
    return float(score[rising].max() - score[falling].min())


def _peer(case: Case) -> float | None:
    """The primal of libsvm's solution, or None where it does not end within its budget."""
    kind = {"SVC": svm.SVC, "NuSVC": svm.NuSVC, "SVR": svm.SVR, "OneClassSVM": svm.OneClassSVM}
    model = kind[case.name](**case.settings, tol=1e-6, max_iter=300_000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(np.asarray(case.x, np.float64), case.y, sample_weight=case.weight)
        except ValueError:
            return None
    if caught or not np.isfinite(model.dual_coef_).all() or not len(model.support_):
        return None
    if case.name == "NuSVC":
        return None  # in another unit: divided by its own margin
    return _Recomputed(case, model).primal
