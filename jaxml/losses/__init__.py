"""Loss functions, computed per example and never reduced.

A loss has the form `loss(logits, labels, *, ..., where=None)`, for regression
`loss(predictions, targets, *, ..., where=None)`. These conventions hold for all of them:

- Binary losses take `logits` and `labels` of the same shape `[...]`. Multiclass losses take
  `logits` of shape `[..., classes]` and `labels` of shape `[...]`. Nothing is broadcast.
- Inputs are promoted to their common dtype, at least float32, which is the dtype of the result.
- Integer labels must be in `[0, classes)`. A concrete label out of range raises a ValueError; if
  the labels or the mask are traced, it makes the loss and the gradient of its example NaN.
- `where` is a boolean mask of shape `[...]`. Masked examples have zero loss and zero gradient
  whatever they contain, NaN included, and their labels are not checked.
- A wrong dtype raises a TypeError, a wrong shape or a value out of range a ValueError.
- Values and gradients are accurate for logits of any magnitude, including infinities wherever the
  formula has a limit there.

`LOSSES` maps names to all losses of labels or targets.
"""

from jaxml.losses._divergence import kl_divergence
from jaxml.losses._hinge import hinge, squared_hinge
from jaxml.losses._multiclass_hinge import (
    crammer_singer_hinge,
    one_vs_rest_hinge,
    weston_watkins_hinge,
)
from jaxml.losses._one_vs_rest import one_vs_rest_cross_entropy
from jaxml.losses._regression import absolute_error, huber, squared_error
from jaxml.losses._sigmoid import sigmoid_cross_entropy, sigmoid_focal
from jaxml.losses._softmax import softmax_cross_entropy, softmax_focal

__all__ = [
    "LOSSES",
    "absolute_error",
    "crammer_singer_hinge",
    "hinge",
    "huber",
    "kl_divergence",
    "one_vs_rest_cross_entropy",
    "one_vs_rest_hinge",
    "sigmoid_cross_entropy",
    "sigmoid_focal",
    "softmax_cross_entropy",
    "softmax_focal",
    "squared_error",
    "squared_hinge",
    "weston_watkins_hinge",
]

LOSSES = {
    "absolute_error": absolute_error,
    "crammer_singer_hinge": crammer_singer_hinge,
    "hinge": hinge,
    "huber": huber,
    "one_vs_rest_cross_entropy": one_vs_rest_cross_entropy,
    "one_vs_rest_hinge": one_vs_rest_hinge,
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
    "sigmoid_focal": sigmoid_focal,
    "softmax_cross_entropy": softmax_cross_entropy,
    "softmax_focal": softmax_focal,
    "squared_error": squared_error,
    "squared_hinge": squared_hinge,
    "weston_watkins_hinge": weston_watkins_hinge,
}
