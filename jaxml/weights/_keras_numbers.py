"""Names that Keras generates for layers: `conv2d`, `conv2d_1`, ..."""

import re
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

_NUMBERED = re.compile(r"(conv2d|batch_normalization|dense)(?:_(\d+))?")


def keras_numbered(kind: str, number: int) -> str:
    """Returns the generated name of a layer that is created after `number` others of its kind.

    >>> keras_numbered("conv2d", 0), keras_numbered("conv2d", 1)
    ('conv2d', 'conv2d_1')
    """
    return f"{kind}_{number}" if number else kind


def renumbered(
    tensors: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Renumbers layers as if the program had created no other network.

    Keras numbers the layers of each kind over all networks that a program creates.

    Args:
      tensors: tensors by `layer/weight`.

    Returns:
      The tensors and their old names, both by the new names.

    Example:
      >>> renumbered({"conv2d_96/kernel": np.zeros(3), "conv2d_94/kernel": np.zeros(3)})[1]
      {'conv2d_1/kernel': 'conv2d_96/kernel', 'conv2d/kernel': 'conv2d_94/kernel'}
    """
    numbers: defaultdict[str, set[int]] = defaultdict(set)
    for name in tensors:
        if match := _NUMBERED.fullmatch(name.rpartition("/")[0]):
            numbers[match[1]].add(int(match[2] or 0))
    layers = {
        keras_numbered(kind, old): keras_numbered(kind, new)
        for kind, taken in numbers.items()
        for new, old in enumerate(sorted(taken))
    }
    names = {}
    for name in tensors:
        layer, slash, weight = name.rpartition("/")
        names[f"{layers.get(layer, layer)}{slash}{weight}"] = name
    return {new: tensors[old] for new, old in names.items()}, names
