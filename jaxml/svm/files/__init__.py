"""Data sets and models in the file formats of libsvm and liblinear.

Public: reading and writing of examples in libsvm's text format (`read_examples`,
`read_example_blocks`, `scan_examples`, `write_examples`), of models (`read_model`, `write_model`),
and the conversion between models and estimators (`to_model`, `to_estimator`).

Files may be compressed by gzip, bzip2 or xz. When reading, the first bytes of a file decide; when
writing, the suffix `.gz`, `.bz2` or `.xz` of its name. The programs of libsvm and liblinear do not
read compressed files. Files are written atomically, and an `InputError` names the file, and the
line where there is one.
"""

from jaxml.svm.files._conversion import to_estimator, to_model
from jaxml.svm.files._examples import (
    Examples,
    Extent,
    read_example_blocks,
    read_examples,
    scan_examples,
    write_examples,
)
from jaxml.svm.files._liblinear_model import LiblinearModel
from jaxml.svm.files._libsvm_model import LibsvmModel
from jaxml.svm.files._model_files import read_model, write_model

__all__ = [
    "Examples", "Extent", "LiblinearModel", "LibsvmModel", "read_example_blocks", "read_examples",
    "read_model", "scan_examples", "to_estimator", "to_model", "write_examples", "write_model",
]  # fmt: skip
