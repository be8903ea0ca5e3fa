"""libsvm's model files: support vectors, their coefficients and what the kernel was.

Source: libsvm 3.37, whose `svm_save_model` and `svm_load_model` are the format's definition.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from jaxml.errors import InputError
from jaxml.svm.files.libsvm_lines import lines, shortest
from jaxml.svm.files.libsvm_rows import LARGEST_INDEX, Grammar, Rows, read_all, to_matrix
from jaxml.svm.files.model_header import Header, read_header
from jaxml.svm.files.packed_file import open_packed, write_packed

CLASSIFIERS = ("c_svc", "nu_svc")
SVM_TYPES = (*CLASSIFIERS, "one_class", "epsilon_svr", "nu_svr")
# The settings that each kernel has in the file.
KERNEL_TYPES = {
    "linear": (),
    "polynomial": ("degree", "gamma", "coef0"),
    "rbf": ("gamma",),
    "sigmoid": ("gamma", "coef0"),
    "precomputed": (),
}
# The arrays of the header, in its order.
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
    r"""What libsvm writes of a trained machine.

    Pair `p` of the classes `a < b`, counted as (0, 1), (0, 2), ..., (1, 2), ..., decides by

    .. math:: f_p(x) = \sum_i c_i k(x_i, x) - \rho_p

    over the support vectors of both, for class `a` where it is positive; the coefficient of one of
    class `a` is `coefficients[b - 1]`, of one of class `b` it is `coefficients[a]`. Regression and
    one class have one such function.

    Attributes:
      svm_type: `c_svc`, `nu_svc`, `one_class`, `epsilon_svr` or `nu_svr`.
      kernel_type: `linear`, `polynomial`, `rbf`, `sigmoid` or `precomputed`.
      coefficients: float64 `[classes - 1, vectors]`; `[1, vectors]` without classes.
      rho: float64 `[classes (classes - 1) / 2]`; `[1]` without classes.
      support_vectors: `[vectors, features]`, those of a class together in the order of `labels`;
        None where the kernel is precomputed.
      support: int64 `[vectors]`, the rows of a precomputed kernel from 0 on; None otherwise.
      degree: of the polynomial.
      gamma: of polynomial, RBF and sigmoid.
      coef0: of polynomial and sigmoid.
      labels: int64 `[classes]`, None without classes.
      num_support: int64 `[classes]`, how many vectors each has; None without classes.
      prob_a: float64, of rho's shape: slopes of the sigmoids of probability, or the scale of the
        noise of a regression; None without.
      prob_b: their offsets, None without.
      density_marks: float64 `[10]`, of a one-class machine with probabilities, or None.

    Raises:
      ValueError: an unknown name, or shapes that do not fit each other.
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
                raise ValueError(f"{name}: {getattr(self, name)!r} is not one of {list(known)}")
        if self.coefficients.ndim != 2:
            raise ValueError(f"coefficients: two dimensions, not {self.coefficients.shape}")
        for name, shape in _shapes(self).items():
            value = getattr(self, name)
            actual = None if value is None else tuple(value.shape)
            if name == "support_vectors" and actual:
                actual = actual[:1]
            if actual != shape:
                raise ValueError(f"{name}: {_of_shape(shape)}, not {_of_shape(actual)}")
        vectors = self.coefficients.shape[1]
        if self.num_support is not None and self.num_support.sum() != vectors:
            raise ValueError(f"num_support: {vectors} in sum, not {self.num_support.sum()}")


def read(path: Path, *, num_features: int | None = None, zero_based: bool = False) -> LibsvmModel:
    """Reads a model file of libsvm.

    Args:
      path: the file, plain or packed.
      num_features: how many the data has, which the file does not say; None for as many as the
        largest index needs.
      zero_based: whether the first feature has the index 0.

    Returns:
      The model.

    Raises:
      InputError: the file cannot be read, or is no such model; the message names file and line.
    """
    with open_packed(path) as file:
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
        header.refuse("total_sv", f"not {len(rows.counts)}, the number of lines after SV")
    if precomputed:
        fields["support"] = _read_support(path, rows)
    else:
        fields["support_vectors"] = to_matrix(rows, first, num_features)
    try:
        return LibsvmModel(coefficients=rows.numbers.T.copy(), **fields)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def write(path: Path, model: LibsvmModel, *, zero_based: bool = False) -> None:
    """Writes a model file that libsvm reads, at once, every number to its last bit.

    Args:
      path: the file; packed if its name ends in `.gz`, `.bz2` or `.xz`, which libsvm does not read.
      model: the model.
      zero_based: whether the first feature gets the index 0 or 1.

    Raises:
      ValueError: a number that is not finite.
      InputError: the file cannot be written; what was there before is left.
    """
    heads = [" ".join(row) for row in zip(*map(shortest, model.coefficients), strict=True)]
    x, first = model.support_vectors, 0 if zero_based else 1
    if x is None:
        x, first = sparse.csr_array(np.asarray(model.support)[:, None] + 1.0), 0
    header = "".join(f"{key} {value}".rstrip() + "\n" for key, value in _header(model))
    write_packed(path, iter([header.encode(), b"SV\n", lines(heads, x, first)]))


def _shapes(model: LibsvmModel) -> dict[str, tuple[int, ...] | None]:
    """The shape that each array has to have, None for one that must not be there."""
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
    """The header's part of a model."""
    svm_type = header.word("svm_type", SVM_TYPES)
    kernel_type = header.word("kernel_type", KERNEL_TYPES)
    fields: dict[str, Any] = {"svm_type": svm_type, "kernel_type": kernel_type}
    for key in KERNEL_TYPES[kernel_type]:
        fields[key] = header.size(key) if key == "degree" else float(header.reals(key, 1)[0])
    classes = header.size("nr_class", least=1)
    if svm_type in CLASSIFIERS:
        fields["labels"] = header.integers("label", classes)
        fields["num_support"] = header.integers("nr_sv", classes)
        if fields["num_support"].min() < 0:
            header.refuse("nr_sv", f"{fields['num_support'].min()} is below 0")
        if classes == 1 and header.size("total_sv"):
            header.refuse("total_sv", "0 for one class, which has nothing to be told from")
    elif classes != 2:
        header.refuse("nr_class", f"2 for {svm_type}, not {classes}")
    pairs = classes * (classes - 1) // 2
    counts = {"rho": pairs, "probA": pairs, "probB": pairs, "prob_density_marks": _MARKS}
    for key, count in counts.items():
        if key == "rho" or key in header.fields:
            fields[_NAMES[key]] = header.reals(key, count)
    return fields


def _read_support(path: Path, rows: Rows) -> np.ndarray:
    """The rows of a precomputed kernel from what stands as their feature 0, from 1 on."""
    good = (rows.counts == 1).all() and (rows.values >= 1).all() and (rows.values % 1 == 0).all()
    if not good:
        raise InputError(f"{path}: after SV, '0:' and the row of the kernel has to be in each line")
    return rows.values.astype(np.int64) - 1


def _header(model: LibsvmModel) -> Iterator[tuple[str, str]]:
    """The lines before the support vectors, in libsvm's order."""
    yield "svm_type", model.svm_type
    yield "kernel_type", model.kernel_type
    for key in KERNEL_TYPES[model.kernel_type]:
        yield key, shortest(np.array([getattr(model, key)]))[0]
    yield "nr_class", str(len(model.coefficients) + 1)
    yield "total_sv", str(model.coefficients.shape[1])
    for key, name in _NAMES.items():
        if getattr(model, name) is not None:
            yield key, " ".join(shortest(getattr(model, name)))


def _of_shape(shape: tuple[int, ...] | None) -> str:
    return "None" if shape is None else f"of shape {shape}"
