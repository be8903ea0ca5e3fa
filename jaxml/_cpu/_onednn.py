"""The custom call of XLA that convolves by oneDNN.

XLA guarantees neither its name nor its settings, so `_proof` tries it before it is used.
"""

import json
from collections.abc import Iterable, Sequence

import jax

from jaxml._cpu._geometry import result_shape
from jaxml.types import Array

TARGET = "__onednn$convolution"


def convolve(
    x: Array,
    kernel: Array,
    *,
    strides: Sequence[int],
    pads: Sequence[tuple[int, int]],
    dilation: Sequence[int] | None = None,
) -> Array:
    """Convolves in 2 or 3 dimensions with channels last."""
    rank = len(strides)
    window = kernel.shape[:rank]
    dilation = dilation or (1,) * rank
    result = result_shape(x.shape[1:-1], window, strides, pads, dilation)
    data = {
        "batch_dim": "0",
        "feature_dim": str(rank + 1),
        "spatial_dims": _texts(range(1, rank + 1)),
    }
    images = {"dims": str(rank + 2), "data": data}
    config = {
        "dims": str(rank + 2),
        "input": images,
        "kernel": {
            "dims": str(rank + 2),
            "filter": {
                "input_feature_dim": str(rank),
                "output_feature_dim": str(rank + 1),
                "spatial_dims": _texts(range(rank)),
                "shape": _texts(kernel.shape),
            },
        },
        "output": images,
        "window": {
            "size": _texts(window),
            "pad_left": _texts(before for before, _ in pads),
            "pad_right": _texts(after for _, after in pads),
            "strides": _texts(strides),
            "window_dilations": _texts(dilation),
        },
        "feature_groups": "1",
    }
    call = jax.ffi.ffi_call(
        TARGET,
        jax.ShapeDtypeStruct((x.shape[0], *result, kernel.shape[-1]), x.dtype),
        custom_call_api_version=1,
        legacy_backend_config=json.dumps({"onednn_conv_config": config}),
    )
    return call(x, kernel)


def _texts(numbers: Iterable[int]) -> list[str]:
    return [str(number) for number in numbers]
