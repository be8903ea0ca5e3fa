"""Metrics as sums over examples, exact for batches of any size.

Each metric is a pytree:

- `Metric.from_batch(...)` computes the sums of one batch; it can be jitted and vmapped. `where` is
  a boolean mask over examples, and None includes all. Excluded examples may contain anything.
- `Metric.empty()` has no examples, and `metric.merge(other)` combines disjoint sets of examples.
  Except for `RegressionMetrics`, stacked metrics merge by a sum over the first axis.
- `metric.compute()` divides once, on the host, and returns Python numbers by name.

A wrong dtype raises a TypeError, a wrong shape or a value out of range a ValueError. Concrete
labels out of range raise a ValueError too; each metric documents how it counts traced ones.
"""

from jaxml.metrics._binary import BinaryMetrics
from jaxml.metrics._calibration import CalibrationError
from jaxml.metrics._classification import ClassificationMetrics
from jaxml.metrics._confusion import ConfusionMatrix
from jaxml.metrics._regression import RegressionMetrics
from jaxml.metrics._roc import RocAuc, roc_auc
from jaxml.metrics._valid_labels import ValidLabelMetrics

__all__ = [
    "BinaryMetrics",
    "CalibrationError",
    "ClassificationMetrics",
    "ConfusionMatrix",
    "RegressionMetrics",
    "RocAuc",
    "ValidLabelMetrics",
    "roc_auc",
]
