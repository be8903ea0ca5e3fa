"""Model files, of libsvm or liblinear."""

from pathlib import Path

from jaxml.errors import InputError
from jaxml.svm.files import liblinear_model, libsvm_model
from jaxml.svm.files.liblinear_model import LiblinearModel
from jaxml.svm.files.libsvm_model import LibsvmModel
from jaxml.svm.files.packed_file import open_packed


def read_model(
    path: Path, *, num_features: int | None = None, zero_based: bool = False
) -> LibsvmModel | LiblinearModel:
    r"""Reads a model file of libsvm or liblinear, whichever its first line says.

    Args:
      path: the file, plain or packed by gzip, bzip2 or xz.
      num_features: how many the data has. libsvm's files do not say; None for as many as the
        largest index needs. liblinear's do, and it has to be the same.
      zero_based: whether the first feature has the index 0 in a file of libsvm.

    Returns:
      The model.

    Raises:
      ValueError: less than one feature.
      InputError: the file cannot be read, is no such model, or one of another number of features;
        the message names file and line.

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
        raise ValueError(f"num_features: at least 1, not {num_features}")
    with open_packed(path) as file:
        key = file.readline(100).split()[:1]
    if key == [b"svm_type"]:
        return libsvm_model.read(path, num_features=num_features, zero_based=zero_based)
    if key != [b"solver_type"]:
        raise InputError(f"{path}, line 1: neither svm_type nor solver_type, so no model file")
    model = liblinear_model.read(path)
    features = model.weights.shape[1]
    if num_features not in (None, features):
        raise InputError(f"{path}: a model of {features} features, not {num_features}")
    return model


def write_model(
    path: Path, model: LibsvmModel | LiblinearModel, *, zero_based: bool = False
) -> None:
    """Writes a model file that libsvm or liblinear reads, at once and exactly.

    Args:
      path: the file; packed if its name ends in `.gz`, `.bz2` or `.xz`, which their programs do
        not read.
      model: the model.
      zero_based: whether the first feature gets the index 0 in a file of libsvm.

    Raises:
      ValueError: a number that is not finite.
      InputError: the file cannot be written; what was there before is left.

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
        liblinear_model.write(path, model)
    else:
        libsvm_model.write(path, model, zero_based=zero_based)
