"""Model files of libsvm and liblinear."""

from pathlib import Path

from jaxml.errors import InputError
from jaxml.svm.files import _liblinear_model, _libsvm_model
from jaxml.svm.files._compression import open_file
from jaxml.svm.files._liblinear_model import LiblinearModel
from jaxml.svm.files._libsvm_model import LibsvmModel


def read_model(
    path: Path, *, num_features: int | None = None, zero_based: bool = False
) -> LibsvmModel | LiblinearModel:
    r"""Reads a model file; its first line says whether it is libsvm's or liblinear's.

    Args:
      path: the file.
      num_features: number of features of the data, at least 1. libsvm's files do not store it; None
        for as many as the largest index needs. liblinear's files do, and it must be equal.
      zero_based: whether the first feature has index 0 in a file of libsvm.

    Example:
      >>> import tempfile
      >>> text = "solver_type L2R_LR\nnr_class 2\nlabel 1 -1\nnr_feature 2\nbias -1\nw\n0.5\n-2\n"
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "model"
      ...     _ = path.write_text(text)
      ...     model = read_model(path)
      >>> model.weights
      array([[ 0.5, -2. ]])
    """
    if num_features is not None and num_features < 1:
        raise ValueError(f"`num_features` must be >= 1, got {num_features}")
    with open_file(path) as file:
        key = file.readline(100).split()[:1]
    if key == [b"svm_type"]:
        return _libsvm_model.read(path, num_features=num_features, zero_based=zero_based)
    if key != [b"solver_type"]:
        raise InputError(f"{path}, line 1: a model file must begin with svm_type or solver_type")
    model = _liblinear_model.read(path)
    features = model.weights.shape[1]
    if num_features not in (None, features):
        raise InputError(f"{path}: the model must have {num_features} features, got {features}")
    return model


def write_model(
    path: Path, model: LibsvmModel | LiblinearModel, *, zero_based: bool = False
) -> None:
    """Writes a model file that libsvm or liblinear reads, with all digits of each number.

    Numbers must be finite. With `zero_based`, the first feature gets index 0 in a file of libsvm.
    An existing file is left unchanged if writing fails.

    Example:
      >>> import tempfile
      >>> import numpy as np
      >>> model = LiblinearModel("L2R_L2LOSS_SVR", np.array([[0.5, -2.0]]))
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder) / "model"
      ...     write_model(path, model)
      ...     path.read_text().splitlines()
      ['solver_type L2R_L2LOSS_SVR', 'nr_class 2', 'nr_feature 2', 'bias -1', 'w', '0.5', '-2']
    """
    if isinstance(model, LiblinearModel):
        _liblinear_model.write(path, model)
    else:
        _libsvm_model.write(path, model, zero_based=zero_based)
