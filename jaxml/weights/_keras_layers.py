"""What Keras 3 calls the weights of a layer, which its files only number."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxml.errors import InputError

KERNEL = ("kernel", "bias")
SEPARABLE = ("depthwise_kernel", "pointwise_kernel", "bias")
STATISTICS = ("moving_mean", "moving_variance")

_WEIGHTS = {
    **dict.fromkeys(("dense", "conv1d", "conv2d", "conv3d"), KERNEL),
    **dict.fromkeys(("conv1d_transpose", "conv2d_transpose", "conv3d_transpose"), KERNEL),
    **dict.fromkeys(("depthwise_conv1d", "depthwise_conv2d"), KERNEL),
    **dict.fromkeys(("separable_conv1d", "separable_conv2d"), SEPARABLE),
}


def weights_of(kind: str, count: int, config: dict[str, Any]) -> tuple[str, ...] | None:
    """The names of a layer's weights, in the order of the file.

    Args:
      kind: the class, as in the file: `conv2d`, `batch_normalization`, ...
      count: how many weights there are; of kernels and biases the last may be missing.
      config: the settings of the layer, empty where they are not known. Of three weights of a batch
        normalisation without settings the first is taken for beta: gamma alone (`center=False`)
        is in no published network, beta alone (`scale=False`) is usual.

    Returns:
      `count` names, or None where the class is unknown or has not as many.
    """
    if kind == "batch_normalization":
        gamma = config.get("scale", count == 4)
        beta = config.get("center", count >= 3)
        names = (*["gamma"][: bool(gamma)], *["beta"][: bool(beta)], *STATISTICS)
        return names if len(names) == count else None
    names = _WEIGHTS.get(kind, ())
    return names[:count] if len(names) - 1 <= count <= len(names) else None


def layers_of(config: bytes, path: Path) -> dict[str, dict[str, Any]]:
    """The settings of all layers by their place in `model.weights.h5`.

    Args:
      config: `config.json` of a `.keras` file.
      path: the name of the file, for messages.

    Raises:
      InputError: it is no Sequential or functional model's.
    """
    try:
        return dict(_walk(json.loads(config)["config"]["layers"], "layers/"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f"{path}: its config.json is not that of a Sequential or functional model"
        ) from None


def _walk(layers: list[Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    counts: Counter[str] = Counter()
    for layer in layers:
        kind = _snake_case(layer["class_name"])
        if kind == "input_layer":  # of a Sequential model it is not among the layers
            continue
        place = prefix + (f"{kind}_{counts[kind]}" if counts[kind] else kind)
        counts[kind] += 1
        yield place, layer["config"]
        if "layers" in layer["config"]:
            yield from _walk(layer["config"]["layers"], f"{place}/layers/")


def _snake_case(name: str) -> str:
    """The name of a class as Keras writes it in files.

    >>> _snake_case("SeparableConv2D"), _snake_case("PReLU")
    ('separable_conv2d', 'p_re_lu')
    """
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
