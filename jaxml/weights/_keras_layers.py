"""Names of the weights of a layer in Keras 3, whose files only number them."""

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
    """Returns the names of a layer's weights, in the order of the file.

    Args:
      kind: class of the layer as in the file: `conv2d`, `batch_normalization`, ...
      count: number of weights; the last one, a bias, may be missing.
      config: config of the layer, empty if unknown. Without it, a batch normalization with three
        weights is assumed to have beta (`scale=False`), since no published network has gamma alone.

    Returns:
      `count` names, or None if the class is unknown or has another number of weights.
    """
    if kind == "batch_normalization":
        gamma = config.get("scale", count == 4)
        beta = config.get("center", count >= 3)
        names = (*["gamma"][: bool(gamma)], *["beta"][: bool(beta)], *STATISTICS)
        return names if len(names) == count else None
    names = _WEIGHTS.get(kind, ())
    return names[:count] if len(names) - 1 <= count <= len(names) else None


def layers_of(config: bytes, path: Path) -> dict[str, dict[str, Any]]:
    """Returns the configs of all layers by their path in `model.weights.h5`.

    Args:
      config: content of `config.json` in a `.keras` file.
      path: path of the file, for messages.

    Raises:
      InputError: the model is neither Sequential nor functional.
    """
    try:
        return dict(_walk(json.loads(config)["config"]["layers"], "layers/"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f"{path}: its config.json must describe a Sequential or functional model"
        ) from None


def _walk(layers: list[Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    counts: Counter[str] = Counter()
    for layer in layers:
        kind = _snake_case(layer["class_name"])
        if kind == "input_layer":  # Sequential models do not save it
            continue
        place = prefix + (f"{kind}_{counts[kind]}" if counts[kind] else kind)
        counts[kind] += 1
        yield place, layer["config"]
        if "layers" in layer["config"]:
            yield from _walk(layer["config"]["layers"], f"{place}/layers/")


def _snake_case(name: str) -> str:
    """Converts the name of a class to its form in files.

    >>> _snake_case("SeparableConv2D"), _snake_case("PReLU")
    ('separable_conv2d', 'p_re_lu')
    """
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
