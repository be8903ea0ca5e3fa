"""Metrics as sums that merge across batches and devices, and are divided once."""

from jaxml.metrics._binary import BinaryMetrics
from jaxml.metrics._calibration import CalibrationError
from jaxml.metrics._classification import ClassificationMetrics
from jaxml.metrics._confusion import ConfusionMatrix
from jaxml.metrics._regression import RegressionMetrics
from jaxml.metrics._roc import RocAuc, roc_auc

__all__ = [
    "BinaryMetrics",
    "CalibrationError",
    "ClassificationMetrics",
    "ConfusionMatrix",
    "RegressionMetrics",
    "RocAuc",
    "roc_auc",
]
