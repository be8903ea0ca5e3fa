"""Metrics as sums that merge across batches and devices, and are divided once."""

from jaxml.metrics.binary import BinaryMetrics
from jaxml.metrics.calibration import CalibrationError
from jaxml.metrics.classification import ClassificationMetrics
from jaxml.metrics.confusion import ConfusionMatrix
from jaxml.metrics.regression import RegressionMetrics
from jaxml.metrics.roc import RocAuc, roc_auc

__all__ = [
    "BinaryMetrics",
    "CalibrationError",
    "ClassificationMetrics",
    "ConfusionMatrix",
    "RegressionMetrics",
    "RocAuc",
    "roc_auc",
]
