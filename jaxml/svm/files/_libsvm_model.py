"""Model files of libsvm.

Reference: `svm_save_model` and `svm_load_model` of libsvm 3.37, which define the format.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from jaxml.errors import InputError
from jaxml.svm.files._compression import open_file, write_file
from jaxml.svm.files._parser import LARGEST_INDEX, Grammar, Rows, read_all, to_matrix
from jaxml.svm.files._text import Header, format_header, format_rows, join_columns, read_header

CLASSIFIERS = ("c_svc", "nu_svc")
SVM_TYPES = (*CLASSIFIERS, "one_class", "epsilon_svr", "nu_svr")
# The hyper-parameters of each kernel in the file.
KERNEL_TYPES = {
    "linear": (),
    "polynomial": ("degree", "gamma", "coef0"),
    "rbf": ("gamma",),
    "sigmoid": ("gamma", "coef0"),
    "precomputed": (),
}
# Arrays of the header, in its order, and their attributes.
_NAMES = {
    "rho": "rho",
    "label": "labels",
    "probA": "prob_a",
    "probB": "prob_b",
    "prob_density_marks": "density_marks",
    "nr_sv": "num_support",
}
_KEYS = (
    *("svm_type", "kernel_type", "degree", "gamma", "coef0", "nr_class", "total_sv"),
    *_NAMES,
)
_MARKS = 10


@dataclass(frozen=True, eq=False)
class LibsvmModel:
    r"""Kernel model as libsvm stores it.

    Pair `p` of the classes `a < b`, in the order (0, 1), (0, 2), ..., (1, 2), ..., has

    .. math:: f_p(x) = \sum_i c_i k(x_i, x) - \rho_p

    over the support vectors of both classes, positive for class `a`. The coefficients of the
    vectors of class `a` are in `coefficients[b - 1]`, those of class `b` in `coefficients[a]`.
    Regression and one-class models have one such function.

    Attributes:
      svm_type: `c_svc`, `nu_svc`, `one_class`, `epsilon_svr` or `nu_svr`.
      kernel_type: `linear`, `polynomial`, `rbf`, `sigmoid` or `precomputed`.
      coefficients: float64 `[classes - 1, vectors]`; `[1, vectors]` without classes.
      rho: float64 `[classes (classes - 1) / 2]`; `[1]` without classes.
      support_vectors: `[vectors, features]`, grouped by class in the order of `labels`; None for a
        precomputed kernel.
      support: int64 `[vectors]` indices of the support vectors for a precomputed kernel, from 0;
        otherwise None.
      degree, gamma, coef0: hyper-parameters of the kernel, see `SVC`.
      labels: int64 `[classes]`; None without classes.
      num_support: int64 `[classes]` number of support vectors; None without classes.
      prob_a: float64 slopes of the sigmoids of the probabilities, in the shape of `rho`, or the
        scale of the noise of a regression; None without probabilities.
      prob_b: float64 offsets of the sigmoids, or None.
      density_marks: float64 `[10]` for a one-class model with probabilities, or None.
    """

    svm_type: str
    kernel_type: str
    coefficients: np.ndarray
    rho: np.ndarray
    support_vectors: sparse.csr_array | None = None
    support: np.ndarray | None = None
    degree: int = 3
    gamma: float = 0.0
    coef0: float = 0.0
    labels: np.ndarray | None = None
    num_support: np.ndarray | None = None
    prob_a: np.ndarray | None = None
    prob_b: np.ndarray | None = None
    density_marks: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, known in (("svm_type", SVM_TYPES), ("kernel_type", KERNEL_TYPES)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"`{name}` must be in {', '.join(known)}, got {getattr(self, name)!r}"
                )
        if self.coefficients.ndim != 2:
            raise ValueError(
                f"`coefficients` must have two dimensions, got shape {self.coefficients.shape}"
            )
        for name, shape in _shapes(self).items():
            value = getattr(self, name)
            actual = None if value is None else tuple(value.shape)
            if name == "support_vectors" and actual:
                actual = actual[:1]
            if actual != shape:
                raise ValueError(f"`{name}` must have shape {shape}, got {actual}")
        vectors = self.coefficients.shape[1]
        if self.num_support is not None and self.num_support.sum() != vectors:
            raise ValueError(
                f"`num_support` must have the sum {vectors}, got {self.num_support.sum()}"
            )


def read(path: Path, *, num_features: int | None = None, zero_based: bool = False) -> LibsvmModel:
    """Reads a model file of libsvm."""
    with open_file(path) as file:
        header = read_header(file, path, _KEYS, "SV")
        fields = _read_fields(header)
        precomputed = fields["kernel_type"] == "precomputed"
        first = 0 if precomputed or zero_based else 1
        largest = LARGEST_INDEX if num_features is None else num_features - 1 + first
        grammar = Grammar(
            numbers=len(fields["labels"]) - 1 if "labels" in fields else 1,
            name="coefficient",
            lowest=first,
            highest=0 if precomputed else min(largest, LARGEST_INDEX),
            query_ids=False,
            ended=True,
        )
        rows = read_all(file, path, grammar, header.line)
    if len(rows.counts) != header.size("total_sv"):
        number, lines = header.size("total_sv"), len(rows.counts)
        header.reject("total_sv", f"must be {lines}, the number of lines after SV, got {number}")
    if precomputed:
        fields["support"] = _read_support(path, rows)
    else:
        fields["support_vectors"] = to_matrix(rows, first, num_features)
    try:
        return LibsvmModel(coefficients=rows.numbers.T.copy(), **fields)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def write(path: Path, model: LibsvmModel, *, zero_based: bool = False) -> None:
    """Writes a model file that libsvm reads, with all digits of each number."""
    fields = (
        ("svm_type", model.svm_type),
        ("kernel_type", model.kernel_type),
        *((key, getattr(model, key)) for key in KERNEL_TYPES[model.kernel_type]),
        ("nr_class", len(model.coefficients) + 1),
        ("total_sv", model.coefficients.shape[1]),
        *((key, getattr(model, name)) for key, name in _NAMES.items()),
    )
    x, first = model.support_vectors, 0 if zero_based else 1
    if x is None:
        x, first = sparse.csr_array(np.asarray(model.support)[:, None] + 1.0), 0
    rows = format_rows(join_columns(model.coefficients), x, first)
    write_file(path, [format_header(fields, "SV"), rows])


def _shapes(model: LibsvmModel) -> dict[str, tuple[int, ...] | None]:
    """Returns the required shape of each array, None for one that must be None."""
    classes, vectors = model.coefficients.shape[0] + 1, model.coefficients.shape[1]
    classifier, precomputed = model.svm_type in CLASSIFIERS, model.kernel_type == "precomputed"
    pairs = (classes * (classes - 1) // 2,)
    optional = {"prob_a": pairs, "prob_b": pairs, "density_marks": (_MARKS,)}
    return {
        "coefficients": (classes - 1 if classifier else 1, vectors),
        "rho": pairs,
        "labels": (classes,) if classifier else None,
        "num_support": (classes,) if classifier else None,
        "support": (vectors,) if precomputed else None,
        "support_vectors": None if precomputed else (vectors,),
        **{name: shape for name, shape in optional.items() if getattr(model, name) is not None},
    }


def _read_fields(header: Header) -> dict[str, Any]:
    """Returns the attributes of a model that are in its header."""
    svm_type = header.word("svm_type", SVM_TYPES)
    kernel_type = header.word("kernel_type", KERNEL_TYPES)
    fields: dict[str, Any] = {"svm_type": svm_type, "kernel_type": kernel_type}
    for key in KERNEL_TYPES[kernel_type]:
        fields[key] = header.size(key) if key == "degree" else header.real(key)
    classes, labels = header.classes(svm_type, is_classifier=svm_type in CLASSIFIERS)
    if labels is not None:
        fields["labels"] = labels
        fields["num_support"] = header.integers("nr_sv", classes)
        if fields["num_support"].min() < 0:
            header.reject("nr_sv", f"must be >= 0, got {fields['num_support'].min()}")
        if classes == 1 and header.size("total_sv"):
            header.reject("total_sv", f"must be 0 for one class, got {header.size('total_sv')}")
    pairs = classes * (classes - 1) // 2
    counts = {"rho": pairs, "probA": pairs, "probB": pairs, "prob_density_marks": _MARKS}
    for key, count in counts.items():
        if key == "rho" or key in header.fields:
            fields[_NAMES[key]] = header.reals(key, count)
    return fields


def _read_support(path: Path, rows: Rows) -> np.ndarray:
    """Returns the indices, from 0, of the support vectors of a precomputed kernel."""
    good = (rows.counts == 1).all() and (rows.values >= 1).all() and (rows.values % 1 == 0).all()
    if not good:
        raise InputError(f"{path}: lines after SV must have 0:index, with an index >= 1")
    return rows.values.astype(np.int64) - 1
