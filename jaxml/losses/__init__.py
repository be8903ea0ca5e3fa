"""Losses: one value an example, never reduced inside."""

from jaxml.losses._divergence import kullback_leibler
from jaxml.losses._hinge import hinge, squared_hinge
from jaxml.losses._multiclass_hinge import (
    crammer_singer_hinge,
    one_vs_rest_hinge,
    weston_watkins_hinge,
)
from jaxml.losses._regression import absolute_error, huber, squared_error
from jaxml.losses._sigmoid import sigmoid_cross_entropy, sigmoid_focal
from jaxml.losses._softmax import softmax_cross_entropy, softmax_focal

__all__ = [
    "LOSSES",
    "absolute_error",
    "crammer_singer_hinge",
    "hinge",
    "huber",
    "kullback_leibler",
    "one_vs_rest_hinge",
    "sigmoid_cross_entropy",
    "sigmoid_focal",
    "softmax_cross_entropy",
    "softmax_focal",
    "squared_error",
    "squared_hinge",
    "weston_watkins_hinge",
]

# By name, those of outputs and labels or targets: `loss(outputs, labels) -> one value an example`.
LOSSES = {
    "absolute_error": absolute_error,
    "crammer_singer_hinge": crammer_singer_hinge,
    "hinge": hinge,
    "huber": huber,
    "one_vs_rest_hinge": one_vs_rest_hinge,
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
    "sigmoid_focal": sigmoid_focal,
    "softmax_cross_entropy": softmax_cross_entropy,
    "softmax_focal": softmax_focal,
    "squared_error": squared_error,
    "squared_hinge": squared_hinge,
    "weston_watkins_hinge": weston_watkins_hinge,
}
