"""Lists the networks, or the layers of one: python -m launch.models --model=NAME.

Multiply-adds and activations are those of the convolutions and dense layers, for one image;
activations take so much memory in float32.
"""

from typing import Any

from absl import flags

from launch import cli

MODEL = flags.DEFINE_string(
    "model", "", "network whose layers are listed; empty lists all networks"
)
IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", 0, "height and width of the images; 0 for the size that each was made for", 0
)
CHANNELS = flags.DEFINE_integer("channels", 3, "channels of the images", 1)
NUM_CLASSES = flags.DEFINE_integer(
    "num_classes", -1, "outputs, 0 for features; -1 for as many as in its publication", -1
)


def main() -> None:
    """Prints a table."""
    from jaxml.errors import choose
    from jaxml.models import (
        MODELS,
        network_class,
    )  # after the flags, for it takes a second to import

    if MODEL.value:
        choose(MODELS, MODEL.value, "--model")
    print(f"{'network':26}{'parameters':>14}{'multiply-adds':>15}{'activations':>14}  input")
    for name in [MODEL.value] if MODEL.value else MODELS:
        constructor = MODELS[name]
        kind = network_class(constructor)
        classes = kind.num_published_classes if NUM_CLASSES.value < 0 else NUM_CLASSES.value
        model = constructor(num_classes=classes)
        size = IMAGE_SIZE.value or kind.image_size
        show(name, model, (size, size, CHANNELS.value))


def show(name: str, model: Any, input_shape: tuple[int, ...]) -> None:
    """Prints what a network costs and, if it was asked for, its layers."""
    from jaxml.models.summary import layers, summarize

    cost = summarize(model, input_shape)
    print(
        f"{name:26}{cost.parameters:14,}{cost.multiply_adds / 1e6:13,.1f} M"
        f"{4 * cost.activations / 2**20:10.1f} MiB  {_times(input_shape)}",
        flush=True,
    )
    if MODEL.value:
        print(f"\n{'layer':44}{'kind':12}{'output':18}parameters")
        for layer in layers(model, input_shape):
            held = ", ".join(f"{key} {_times(shape)}" for key, shape in layer.parameters.items())
            print(f"{layer.path:44}{layer.kind:12}{_times(layer.output):18}{held}")


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


if __name__ == "__main__":
    cli.run(main)
