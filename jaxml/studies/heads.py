"""Fully connected, average and maximum heads.

Claim: Global average pooling replaces the fully connected head with far fewer parameters, is less
tied to positions, and shows where the network looks.

Formula:
  fully connected: z = W vec(F) + b      average: z_c = Σ_k w_{kc} mean_{ij} F_{ijk} + b_c
  class activation map: M_{ijc} = Σ_k w_{kc} F_{ijk},   mean_{ij} M_{ijc} + b_c = z_c

Measured: A residual network with stages of 8 and 16 channels and one of three heads learns the
digits (CIFAR-10 with `--full`). Parameters of the head, test accuracy, and test accuracy when the
test images are shifted by one pixel in any of four directions, which no training image was. The
mean of the class activation map of the average head must be the logit.

Verdict: holds. The fully connected head has as many times more weights as the feature map has
pixels, and it loses more accuracy when digits move. The map is no estimate, but a decomposition:
its mean is the logit, up to rounding. On images this small and centered, the positions also carry
information, so that the average head is not the most accurate one after the same number of steps.

Next: Train with shifted images (`config.data.augment=crop:padding=1`): which head gains most? Look
at the maps of a class that is not in the picture.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxml import layers
from jaxml.models import CifarResNet, intermediates
from jaxml.studies import _training as training
from jaxml.studies._panels import bars, pictures
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table, part
from jaxml.types import Array, PyTree

HEADS = {"fully connected": "fc", "average": "gap", "maximum": "gmp"}
SHIFTS = [(0, 1), (0, -1), (1, 0), (-1, 0)]


def class_activation_map(features: Array, head: PyTree) -> Array:
    """Returns the contribution of each pixel to each logit, `[n, height, width, classes]`."""
    return layers.conv(features, head["kernel"][None, None])


def network(head: str) -> CifarResNet:
    """Returns a small residual network."""
    return CifarResNet(num_classes=10, blocks_per_stage=1, stage_features=(8, 16), head=head)


def explain(model: CifarResNet, variables: PyTree, images: Array) -> tuple[Array, Array]:
    """Returns class activation maps, and the largest difference of their means from the logits."""
    features = intermediates(model, variables, images, ["stage2"])["stage2"]
    head = variables["params"]["head"]
    channels = features.shape[-1]  # a head that is not an average has more rows than that
    maps = class_activation_map(features, {"kernel": head["kernel"][:channels]})
    logits = jnp.asarray(model.apply(variables, images, train=False))
    means = maps.mean((1, 2)) + jnp.broadcast_to(head["bias"], logits.shape)
    return maps, jnp.abs(means - logits).max()


def measure(settings: Settings, *, average: str = "gap") -> Measured:
    """Trains all heads; `average` is the head that is to have few parameters."""
    data, found = training.load_images(settings), {}
    images, labels = data.test[:500], data.test_labels[:500]
    shifted = [jnp.roll(images, shift, (1, 2)) for shift in SHIFTS]
    steps, optimizer = settings.steps(120), optax.sgd(0.1, 0.9)
    for name, head in {**HEADS, "average": average}.items():
        model = network(head)
        trained = training.train_network(model, data, settings, steps=steps, optimizer=optimizer)
        predict = jax.jit(lambda v, x: model.apply(v, x, train=False))
        accuracies = [
            np.mean([training.accuracy(predict(v, x), labels) for x in shifted])
            for v in trained.variables
        ]
        kernel = trained.variables[0]["params"]["head"]["kernel"]
        found[f"parameters, {name}"] = settings.constant(kernel.size + 10.0)
        found[f"test, {name}"] = trained.test_accuracy
        found[f"shifted, {name}"] = np.stack(accuracies)
        if name == "average":
            explained = [explain(model, v, images[:6]) for v in trained.variables]
            maps, errors = zip(*explained, strict=True)
            found["maps"], found["map error"] = np.stack(maps), np.stack(errors)
    found["images"] = settings.constant(images[:6].mean(-1))
    found["labels"] = settings.constant(labels[:6])
    return found


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    size, test, shifted = (part(found, kind) for kind in ("parameters", "test", "shifted"))
    ratio = size["fully connected"] / size["average"]
    lost = {name: test[name] - shifted[name] for name in HEADS}
    more, error = lost["fully connected"] - lost["average"], found["map error"]
    return [
        Check("parameters of the head, fully connected over average", ratio, at_least=10),
        Check("accuracy lost by a shift, fully connected minus average", more, at_least=0.02),
        Check("largest error of the mean of the map as the logit", error, at_most=1e-4),
        Check("test accuracy, average head", test["average"], at_least=0.7),
    ]


def table(found: Measured) -> Table:
    """Parameters and accuracies by head."""
    columns = {
        "parameters": part(found, "parameters"),
        "test accuracy": part(found, "test"),
        "shifted by one pixel": part(found, "shifted"),
    }
    return Table.of("head", columns)


def panels(found: Measured) -> list[Panel]:
    """Class activation maps of one seed, and accuracies."""
    labels = found["labels"][0]
    maps = [found["maps"][0][i, ..., label] for i, label in enumerate(labels)]
    captions = [f"label {label}" for label in labels] + ["its map"] * 6
    accuracy = {}
    for name in HEADS:
        accuracy |= {name: found[f"test, {name}"], f"{name}, shifted": found[f"shifted, {name}"]}
    title = "Test images, and the map of their class (average head; bright pixels speak for it)"
    return [
        pictures(title, [*found["images"][0], *maps], captions, columns=6),
        bars("Test accuracy", accuracy, x="accuracy"),
    ]


STUDY = Study(measure, checks, table, panels, code=(class_activation_map,))
