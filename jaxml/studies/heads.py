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
from jaxml.studies._study import Check, Measured, Panel, Settings, Study, Table
from jaxml.types import Array, PyTree

HEADS = {"fully connected": "fc", "average": "gap", "maximum": "gmp"}


def class_activation_map(features: Array, head: PyTree) -> Array:
    """Returns the contribution of each pixel to each logit, `[n, height, width, classes]`."""
    return layers.conv(features, head["kernel"][None, None])


def network(head: str) -> CifarResNet:
    """Returns a small residual network."""
    return CifarResNet(num_classes=10, blocks_per_stage=1, stage_features=(8, 16), head=head)


def measure(settings: Settings, *, average: str = "gap") -> Measured:
    """Trains all heads; `average` is the head that is to have few parameters."""
    data, found = training.load_images(settings), {}
    images = data.test[:6]
    shifts = [(0, 1), (0, -1), (1, 0), (-1, 0)]
    shifted = [jnp.roll(data.test[:500], shift, (1, 2)) for shift in shifts]
    labels = data.test_labels[:500]
    for name, head in {**HEADS, "average": average}.items():
        model = network(head)
        trained = training.train_network(
            model, data, settings, steps=settings.steps(120), optimizer=optax.sgd(0.1, 0.9)
        )
        predict = jax.jit(lambda v, x: model.apply(v, x, train=False))
        found[f"test, {name}"] = trained.test_accuracy
        found[f"shifted, {name}"] = np.stack(
            [
                np.mean([training.accuracy(predict(v, x), labels) for x in shifted])
                for v in trained.variables
            ]
        )
        kernel = trained.variables[0]["params"]["head"]["kernel"]
        found[f"parameters, {name}"] = np.full(len(settings.seeds), kernel.size + 10.0)
        if name == "average":
            maps, errors = [], []
            for v in trained.variables:
                features = intermediates(model, v, images, ["stage2"])["stage2"]
                weights = v["params"]["head"]
                if weights["kernel"].shape[0] != features.shape[-1]:  # no such map
                    weights = {**weights, "kernel": weights["kernel"][: features.shape[-1]]}
                maps.append(class_activation_map(features, weights))
                logits = maps[-1].mean((1, 2)) + jnp.broadcast_to(weights["bias"], (6, 10))
                errors.append(jnp.abs(logits - predict(v, images)).max())
            found["maps"], found["map error"] = np.stack(maps), np.asarray(errors)
    found["images"] = np.stack([np.asarray(images.mean(-1))] * len(settings.seeds))
    found["labels"] = np.stack([np.asarray(labels[:6])] * len(settings.seeds))
    return found


def checks(found: Measured) -> list[Check]:
    """The criteria of the verdict."""
    loss = {n: found[f"test, {n}"] - found[f"shifted, {n}"] for n in HEADS}
    ratio = found["parameters, fully connected"] / found["parameters, average"]
    return [
        Check("parameters of the head, fully connected over average", ratio, at_least=10),
        Check(
            "accuracy lost by a shift, fully connected minus average",
            loss["fully connected"] - loss["average"],
            at_least=0.02,
        ),
        Check(
            "largest error of the mean of the map as the logit", found["map error"], at_most=1e-4
        ),
        Check("test accuracy, average head", found["test, average"], at_least=0.7),
    ]


def table(found: Measured) -> Table:
    """Parameters and accuracies by head."""
    rows = [
        (n, *(found[f"{kind}, {n}"] for kind in ("parameters", "test", "shifted"))) for n in HEADS
    ]
    return Table(("head", "parameters", "test accuracy", "shifted by one pixel"), rows)


def panels(found: Measured) -> list[Panel]:
    """Class activation maps of one seed, and accuracies."""
    labels = found["labels"][0]
    maps = [found["maps"][0][i, ..., label] for i, label in enumerate(labels)]
    captions = [f"label {label}" for label in labels] + ["its map"] * 6
    shifted = {
        f"{n}{', shifted' * (k == 'shifted')}": found[f"{k}, {n}"]
        for n in HEADS
        for k in ("test", "shifted")
    }
    title = "Test images, and the map of their class (average head; bright pixels speak for it)"
    return [
        pictures(title, [*found["images"][0], *maps], captions, columns=6),
        bars("Test accuracy", shifted, x="accuracy"),
    ]


STUDY = Study(measure, checks, table, panels, code=(class_activation_map,))
