"""Model files of liblinear.

Reference: `save_model` and `load_model` of liblinear 2.50, which define the format.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxml.errors import InputError
from jaxml.svm.files._compression import open_file, write_file
from jaxml.svm.files._parser import Grammar, read_all
from jaxml.svm.files._text import format_header, join_columns, read_header

CLASSIFIERS = (
    *("L2R_LR", "L2R_L2LOSS_SVC_DUAL", "L2R_L2LOSS_SVC", "L2R_L1LOSS_SVC_DUAL", "MCSVM_CS"),
    *("L1R_L2LOSS_SVC", "L1R_LR", "L2R_LR_DUAL"),
)
SOLVER_TYPES = (
    *CLASSIFIERS,
    *("L2R_L2LOSS_SVR", "L2R_L2LOSS_SVR_DUAL", "L2R_L1LOSS_SVR_DUAL", "ONECLASS_SVM"),
)
_KEYS = ("solver_type", "nr_class", "label", "nr_feature", "bias", "rho")


@dataclass(frozen=True, eq=False)
class LiblinearModel:
    r"""Linear model as liblinear stores it.

    .. math:: f_k(x) = \sum_j w_{kj} x_j + b\, v_k - \rho

    with the bias `b`, its weights `v`, and `rho` for `ONECLASS_SVM` only. For two classes there is
    one function, positive for `labels[0]`; for more classes, and always for `MCSVM_CS`, there is
    one function per class.

    Attributes:
      solver_type: liblinear's name of loss, penalty and solver, such as `L2R_L2LOSS_SVC`.
      weights: float64 `[functions, features]`.
      bias: value of the constant feature; negative if there is none.
      bias_weights: float64 `[functions]` weights of the constant feature, or None.
      labels: int64 `[classes]`; None for regression and one-class models.
      rho: offset of `ONECLASS_SVM`, otherwise None.
    """

    solver_type: str
    weights: np.ndarray
    bias: float = -1.0
    bias_weights: np.ndarray | None = None
    labels: np.ndarray | None = None
    rho: float | None = None

    def __post_init__(self) -> None:
        solver = self.solver_type
        if solver not in SOLVER_TYPES:
            raise ValueError(f"`solver_type` must be in {', '.join(SOLVER_TYPES)}, got {solver!r}")
        for name, wanted in (
            ("labels", solver in CLASSIFIERS),
            ("rho", solver == "ONECLASS_SVM"),
        ):
            if (getattr(self, name) is not None) != wanted:
                rule = "given" if wanted else "None"
                raise ValueError(f"`{name}` must be {rule} for {solver}, got {getattr(self, name)}")
        functions = _count_functions(solver, _count_classes(self))
        if self.weights.ndim != 2 or len(self.weights) != functions:
            raise ValueError(
                f"`weights` must have shape [{functions}, features], got {self.weights.shape}"
            )
        shape = None if self.bias_weights is None else self.bias_weights.shape
        expected = (functions,) if self.bias >= 0 else None
        if shape != expected:
            raise ValueError(
                f"`bias_weights` must have shape {expected} for bias {self.bias}, got {shape}"
            )

    @property
    def intercept(self) -> np.ndarray:
        """The `[functions]` constants of the functions."""
        offset = 0.0 if self.rho is None else self.rho
        if self.bias_weights is None:
            return np.full(len(self.weights), -offset)
        return self.bias * self.bias_weights - offset


def read(path: Path) -> LiblinearModel:
    """Reads a model file of liblinear."""
    with open_file(path) as file:
        header = read_header(file, path, _KEYS, "w")
        solver_type = header.word("solver_type", SOLVER_TYPES)
        classes, labels = header.classes(solver_type, is_classifier=solver_type in CLASSIFIERS)
        rho = header.real("rho") if solver_type == "ONECLASS_SVM" else None
        features, bias = header.size("nr_feature"), header.real("bias")
        numbers = _count_functions(solver_type, classes)
        grammar = Grammar(numbers=numbers, name="weight", highest=-1, query_ids=False, ended=True)
        weights = read_all(file, path, grammar, header.line).numbers.T.copy()
    lines = features + (bias >= 0)
    if weights.shape[1] != lines:
        raise InputError(
            f"{path}: there must be {lines} lines after w for nr_feature {features} and "
            f"bias {bias:g}, got {weights.shape[1]}"
        )
    bias_weights = weights[:, -1].copy() if bias >= 0 else None
    return LiblinearModel(solver_type, weights[:, :features], bias, bias_weights, labels, rho)


def write(path: Path, model: LiblinearModel) -> None:
    """Writes a model file that liblinear reads, with all digits of each number."""
    weights = model.weights
    if model.bias_weights is not None:
        weights = np.concatenate([weights, model.bias_weights[:, None]], axis=1)
    fields = (
        ("solver_type", model.solver_type),
        ("nr_class", _count_classes(model)),
        ("label", model.labels),
        ("nr_feature", model.weights.shape[1]),
        ("bias", model.bias),
        ("rho", model.rho),
    )
    rows = "".join(f"{row}\n" for row in join_columns(weights))
    write_file(path, [format_header(fields, "w"), rows.encode()])


def _count_classes(model: LiblinearModel) -> int:
    """Returns nr_class of the file, which is 2 for models without classes."""
    return 2 if model.labels is None else len(model.labels)


def _count_functions(solver_type: str, classes: int) -> int:
    return 1 if classes == 2 and solver_type != "MCSVM_CS" else classes
