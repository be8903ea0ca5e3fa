"""Input normalization.

Functions normalize single images. Normalizers are pytrees of statistics fitted on a set: `fit(x)`
runs on the host in float64, `apply(x)` and `invert(y)` can be jitted and vmapped.

`fit` accepts uint8 or uint16 images `[n, height, width, channels]` and floating-point examples
`[n, ..., channels]`, and raises `TypeError` for other dtypes and `ValueError` for other shapes,
empty sets and values that are not finite. Integers are pixels: they are scaled to [0, 1] first,
which is also the scale of the statistics and of the result of `invert`. `apply` and `invert`
compute in float32 at least and return floating-point inputs in their own dtype.
"""

from jaxml.normalize._images import (
    PerImageStandardization,
    UnitInterval,
    from_unit_interval,
    per_image_standardization,
    to_unit_interval,
)
from jaxml.normalize._scaling import ChannelStandardization, MinMaxScaling
from jaxml.normalize._whitening import PatchWhitening, PCAWhitening, ZCAWhitening

__all__ = [
    "NORMALIZERS",
    "ChannelStandardization",
    "MinMaxScaling",
    "Normalizer",
    "PCAWhitening",
    "PatchWhitening",
    "PerImageStandardization",
    "UnitInterval",
    "ZCAWhitening",
    "from_unit_interval",
    "per_image_standardization",
    "to_unit_interval",
]

Normalizer = (
    UnitInterval
    | PerImageStandardization
    | ChannelStandardization
    | MinMaxScaling
    | PCAWhitening
    | ZCAWhitening
    | PatchWhitening
)

# Normalizers by the name that a config gives.
NORMALIZERS: dict[str, type[Normalizer]] = {
    "per_image": PerImageStandardization,
    "per_channel": ChannelStandardization,
    "unit": UnitInterval,
    "min_max": MinMaxScaling,
    "pca": PCAWhitening,
    "zca": ZCAWhitening,
    "patch_pca": PatchWhitening,
}
