"""liblinear's model files: the weights of linear machines.

Source: liblinear 2.50, whose `save_model` and `load_model` are the format's definition.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxml.errors import InputError
from jaxml.svm.files.libsvm_lines import shortest
from jaxml.svm.files.libsvm_rows import Grammar, read_all
from jaxml.svm.files.model_header import read_header
from jaxml.svm.files.packed_file import open_packed, write_packed

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
    r"""What liblinear writes of a trained machine.

    .. math:: f_k(x) = \sum_j w_{kj} x_j + b\, v_k - \rho

    with the bias `b`, its weights `v`, and `rho` of one class only. With two classes there is one
    function, for `labels[0]` where it is positive, but for `MCSVM_CS`, which has one a class as
    all have with more classes.

    Attributes:
      solver_type: liblinear's name of loss, penalty and solver, such as `L2R_L2LOSS_SVC`.
      weights: float64 `[functions, features]`.
      bias: value of the constant feature, below 0 where there is none.
      bias_weights: float64 `[functions]`, the weights of the constant feature, or None.
      labels: int64 `[classes]`; None for regression and one class.
      rho: the offset of `ONECLASS_SVM`, None for the others.

    Raises:
      ValueError: an unknown name, or shapes that do not fit each other.
    """

    solver_type: str
    weights: np.ndarray
    bias: float = -1.0
    bias_weights: np.ndarray | None = None
    labels: np.ndarray | None = None
    rho: float | None = None

    def __post_init__(self) -> None:
        if self.solver_type not in SOLVER_TYPES:
            known = ", ".join(SOLVER_TYPES)
            raise ValueError(f"solver_type: {self.solver_type!r} is not one of {known}")
        if (self.labels is not None) != (self.solver_type in CLASSIFIERS):
            raise ValueError(f"labels: for classifiers only, not {self.solver_type}")
        if (self.rho is not None) != (self.solver_type == "ONECLASS_SVM"):
            raise ValueError(f"rho: for ONECLASS_SVM only, not {self.solver_type}")
        functions = _count_functions(self.solver_type, _count_classes(self))
        if self.weights.ndim != 2 or len(self.weights) != functions:
            raise ValueError(f"weights: [{functions}, features], not {self.weights.shape}")
        shape = None if self.bias_weights is None else self.bias_weights.shape
        expected = (functions,) if self.bias >= 0 else None
        if shape != expected:
            raise ValueError(f"bias_weights: {expected} for the bias {self.bias}, not {shape}")

    @property
    def intercept(self) -> np.ndarray:
        """What is added to the weighted features, float64 `[functions]`."""
        offset = 0.0 if self.rho is None else self.rho
        if self.bias_weights is None:
            return np.full(len(self.weights), -offset)
        return self.bias * self.bias_weights - offset


def read(path: Path) -> LiblinearModel:
    """Reads a model file of liblinear.

    Args:
      path: the file, plain or packed.

    Returns:
      The model.

    Raises:
      InputError: the file cannot be read, or is no such model; the message names file and line.
    """
    with open_packed(path) as file:
        header = read_header(file, path, _KEYS, "w")
        solver_type = header.word("solver_type", SOLVER_TYPES)
        classes = header.size("nr_class", least=1)
        labels, rho = None, None
        if solver_type in CLASSIFIERS:
            labels = header.integers("label", classes)
        elif classes != 2:
            header.refuse("nr_class", f"2 for {solver_type}, not {classes}")
        if solver_type == "ONECLASS_SVM":
            rho = float(header.reals("rho", 1)[0])
        features, bias = header.size("nr_feature"), float(header.reals("bias", 1)[0])
        numbers = _count_functions(solver_type, classes)
        grammar = Grammar(numbers=numbers, name="weight", highest=-1, query_ids=False, ended=True)
        weights = read_all(file, path, grammar, header.line).numbers.T.copy()
    promised = features + (bias >= 0)
    if weights.shape[1] != promised:
        raise InputError(
            f"{path}: {weights.shape[1]} lines after w, "
            f"nr_feature {features} and bias {bias:g} need {promised}"
        )
    bias_weights = weights[:, -1].copy() if bias >= 0 else None
    return LiblinearModel(solver_type, weights[:, :features], bias, bias_weights, labels, rho)


def write(path: Path, model: LiblinearModel) -> None:
    """Writes a model file that liblinear reads, at once, every number to its last bit.

    Args:
      path: the file; packed if its name ends in `.gz`, `.bz2` or `.xz`, which liblinear does not
        read.
      model: the model.

    Raises:
      ValueError: a number that is not finite.
      InputError: the file cannot be written; what was there before is left.
    """
    weights = model.weights
    if model.bias_weights is not None:
        weights = np.concatenate([weights, model.bias_weights[:, None]], axis=1)
    text = [f"solver_type {model.solver_type}", f"nr_class {_count_classes(model)}"]
    if model.labels is not None:
        text.append(" ".join(["label", *map(str, model.labels.tolist())]))
    text += [f"nr_feature {model.weights.shape[1]}", f"bias {shortest(np.array([model.bias]))[0]}"]
    if model.rho is not None:
        text.append(f"rho {shortest(np.array([model.rho]))[0]}")
    columns = zip(*map(shortest, weights), strict=True)
    text += ["w", *(" ".join(row) for row in columns), ""]
    write_packed(path, iter(["\n".join(text).encode()]))


def _count_classes(model: LiblinearModel) -> int:
    """What the file calls nr_class: 2 where there are no classes."""
    return 2 if model.labels is None else len(model.labels)


def _count_functions(solver_type: str, classes: int) -> int:
    return 1 if classes == 2 and solver_type != "MCSVM_CS" else classes
