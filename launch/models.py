"""Lists the networks, or the layers of one: python -m launch.models --model=NAME.

Multiply-adds and activations are counted over the convolutions and dense layers of the traced
program, for one image; activations are their memory in float32.
"""

import os
from typing import Any

from absl import flags

from jaxml import _cpu
from jaxml.errors import InputError, choose
from launch import cli

MODEL = flags.DEFINE_string(
    "model", "", "network whose layers are listed; by default all networks are listed"
)
IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", 0, "height and width of the images; 0 for the published size of each network", 0
)
CHANNELS = flags.DEFINE_integer(
    "channels", 0, "channels of the images; 0 for the published number of each network", 0
)
NUM_CLASSES = flags.DEFINE_integer(
    "num_classes", -1, "number of outputs; 0 for features, -1 for the published number", -1
)


def main() -> None:
    """Prints a table of networks or layers."""
    _cpu.tune(os.environ)
    from jaxml import models  # imports JAX, so after the flags

    if MODEL.value:
        choose(models.MODELS, MODEL.value, "--model")
    print(f"{'network':26}{'parameters':>14}{'multiply-adds':>15}{'activations':>14}  input")
    if MODEL.value:
        model, shape = _network(MODEL.value)
        print(_row(MODEL.value, model, shape))
        _print_layers(model, shape)
        return
    for name in models.MODELS:
        try:
            row = _row(name, *_network(name))
        except InputError as error:
            row = f"{name:26}{error}"
        print(row, flush=True)


def _network(name: str) -> tuple[Any, tuple[int, int, int]]:
    """Returns a network and the shape of its images."""
    from jaxml import models

    kind = models.network_class(models.MODELS[name])
    classes = kind.num_published_classes if NUM_CLASSES.value < 0 else NUM_CLASSES.value
    size = IMAGE_SIZE.value or kind.image_size
    channels = CHANNELS.value or kind.num_published_channels
    return models.MODELS[name](num_classes=classes), (size, size, channels)


def _row(name: str, model: Any, shape: tuple[int, ...]) -> str:
    from jaxml.models import summarize

    cost = summarize(model, shape)
    return (
        f"{name:26}{cost.parameters:14,}{cost.multiply_adds / 1e6:13,.1f} M"
        f"{4 * cost.activations / 2**20:10.1f} MiB  {_times(shape)}"
    )


def _print_layers(model: Any, shape: tuple[int, ...]) -> None:
    from jaxml.models import summarize_layers

    print(f"\n{'layer':44}{'kind':12}{'output':18}parameters")
    for layer in summarize_layers(model, shape):
        held = ", ".join(f"{key} {_times(size)}" for key, size in layer.parameters.items())
        print(f"{layer.path:44}{layer.kind:12}{_times(layer.output):18}{held}")


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


if __name__ == "__main__":
    cli.run(main)
