"""Augmentations selected by name, and their composition in a training step."""

import ast
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxml.data.augment import _color as color
from jaxml.data.augment import _crop as crop
from jaxml.data.augment import _erase as erase
from jaxml.data.augment import _filter as filters
from jaxml.data.augment import _mix as mix
from jaxml.data.augment import _pixels as pixels
from jaxml.data.augment import _policies as policies
from jaxml.data.augment import _warp as warp
from jaxml.errors import InputError, choose, nearest
from jaxml.types import Array, Key

Function = Callable[..., Any]

SETTING = "config.data.augment"


def randomly(
    key: Key, images: Array, function: Callable[[Array], Array], *, probability: float = 0.5
) -> Array:
    """Applies a function to each image with a probability.

    Args:
      key: a PRNG key.
      images: the batch.
      function: from images to images of the same shape and dtype.
      probability: the probability.

    Example:
      >>> from jaxml.data.augment import invert
      >>> images = jnp.zeros((2, 1, 1, 1), jnp.uint8)
      >>> randomly(jax.random.key(0), images, invert, probability=1.0).ravel().tolist()
      [255, 255]
    """
    return jnp.where(pixels.choose(key, images, probability), function(images), images)


# `(key, images, *, ...) -> images`
_RANDOM: dict[str, Function] = {
    "crop": crop.random_crop,
    "flip": crop.random_flip,
    "random_resized_crop": crop.random_resized_crop,
    "color_jitter": color.color_jitter,
    "gaussian_blur": filters.random_gaussian_blur,
    "affine": warp.random_affine,
    "rotation": warp.random_rotation,
    "perspective": warp.random_perspective,
    "rand_augment": policies.rand_augment,
    "trivial_augment_wide": policies.trivial_augment_wide,
    "aug_mix": policies.aug_mix,
    "random_erasing": erase.random_erasing,
    "cutout": erase.cutout,
}
# `(images, *, ...) -> images`, applied with a probability
_DETERMINISTIC: dict[str, Function] = {
    "grayscale": color.grayscale,
    "invert": color.invert,
    "posterize": color.posterize,
    "solarize": color.solarize,
    "equalize": color.equalize,
    "autocontrast": color.autocontrast,
    "sharpness": filters.adjust_sharpness,
}
# `(key, images, labels, *, ...) -> (images, labels)`
MIXING: dict[str, Function] = {
    "mixup": mix.mixup,
    "cutmix": mix.cutmix,
    "mixup_or_cutmix": mix.mixup_or_cutmix,
}
AUGMENTATIONS: dict[str, Function] = {
    **_RANDOM,
    **_DETERMINISTIC,
    **MIXING,
    "alternating_flip": crop.alternating_flip,
    "repeat": mix.repeat,
}


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """An augmentation and its parameters.

    Attributes:
      name: one of `AUGMENTATIONS`.
      parameters: name and value of each parameter that was given.
    """

    name: str
    parameters: tuple[tuple[str, int | float | str], ...] = ()

    def __str__(self) -> str:
        return ":".join([self.name, *(f"{name}={value}" for name, value in self.parameters)])

    @property
    def mixes(self) -> bool:
        """Returns whether the augmentation mixes labels."""
        return self.name in MIXING


class Examples(NamedTuple):
    """A batch of training examples.

    Attributes:
      images: `[batch, height, width, channels]`.
      labels: `[batch]` integers, or `[batch, classes]` probabilities.
      indices: `[batch]`, their indices in the training set.
    """

    images: Array
    labels: Array
    indices: Array


def parse(text: str) -> Augmentation:
    """Parses an augmentation, such as `crop:padding=4:mode=reflect`.

    Args:
      text: one of `AUGMENTATIONS`, and keyword arguments of the function. `grayscale`, `invert`,
        `posterize`, `solarize`, `equalize`, `autocontrast` and `sharpness` have the argument
        `probability` in addition, 0.5 by default.

    Raises:
      InputError: the text has another form, or names something unknown.

    Example:
      >>> parse("crop:padding=4")
      Augmentation(name='crop', parameters=(('padding', 4),))
      >>> parse("crop:pading=4")
      Traceback (most recent call last):
      jaxml.errors.InputError: config.data.augment must give crop only the parameters padding, \
mode, got 'pading'; did you mean 'padding'?
    """
    name, *words = text.split(":")
    choose(AUGMENTATIONS, name, SETTING)
    types = _parameters(name)
    values: dict[str, int | float | str] = {}
    for word in words:
        parameter, equals, value = word.partition("=")
        if parameter not in types:
            known = f"only the parameters {', '.join(types)}" if types else "no parameters"
            raise InputError(
                f"{SETTING} must give {name} {known}, got {parameter!r}{nearest(parameter, types)}"
            )
        if parameter in values or not equals:
            raise InputError(f"{SETTING} must give {parameter} one value, got {text!r}")
        values[parameter] = _convert(value, types[parameter].annotation, f"{name}:{parameter}")
    for parameter, described in types.items():
        if described.default is inspect.Parameter.empty and parameter not in values:
            raise InputError(f"{SETTING} must give {name} the parameter {parameter}, got {text!r}")
    return Augmentation(name, tuple(values.items()))


def apply(
    augmentations: Sequence[Augmentation],
    keys: Sequence[Key],
    examples: Examples,
    *,
    run_key: Key,
    epoch: Array,
    num_classes: int,
    mixing_epochs: int | None = None,
) -> Examples:
    """Applies augmentations to a batch, one after the other.

    Args:
      augmentations: the augmentations.
      keys: a PRNG key for each of them.
      examples: the batch.
      run_key: a PRNG key that is the same in all steps, for alternating flips.
      epoch: index of the epoch.
      num_classes: number of classes, for mixed labels.
      mixing_epochs: number of epochs after which examples are no longer mixed; None always mixes.

    Returns:
      Examples of the same shapes; mixed labels are float32 `[batch, classes]`.
    """
    for augmentation, key in zip(augmentations, keys, strict=True):
        name, parameters = augmentation.name, dict[str, Any](augmentation.parameters)
        images, labels, indices = examples
        if name == "repeat":
            examples = mix.repeat(examples, **parameters)
        elif name == "alternating_flip":
            images = crop.alternating_flip(run_key, images, epoch=epoch, indices=indices)
            examples = examples._replace(images=images)
        elif augmentation.mixes:
            if labels.ndim == 1:
                labels = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)
            mix_labels = partial(MIXING[name], key, **parameters)
            if mixing_epochs is None:
                images, labels = mix_labels(images, labels)
            else:
                mixes = epoch < mixing_epochs
                images, labels = lax.cond(mixes, mix_labels, lambda *same: same, images, labels)
            examples = examples._replace(images=images, labels=labels)
        else:
            images = _transformation(name, parameters)(key, images)
            examples = examples._replace(images=images)
    return examples


def _transformation(name: str, parameters: Mapping[str, Any]) -> Callable[[Key, Array], Array]:
    if name in _RANDOM:
        return partial(_RANDOM[name], **parameters)
    settings = dict(parameters)
    probability = settings.pop("probability", 0.5)
    function = partial(_DETERMINISTIC[name], **settings)
    return lambda key, images: randomly(key, images, function, probability=probability)


def _parameters(name: str) -> dict[str, inspect.Parameter]:
    """Returns the parameters of an augmentation that text can set."""
    if name == "alternating_flip":
        return {}
    described = dict(inspect.signature(AUGMENTATIONS[name]).parameters)
    if name in _DETERMINISTIC:
        described["probability"] = inspect.signature(randomly).parameters["probability"]
    return {
        name: parameter
        for name, parameter in described.items()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.annotation in _KINDS
    }


_KINDS = {int: "an int", float: "a float", str: "a word", Any: "a float"}


def _convert(text: str, kind: Any, parameter: str) -> int | float | str:
    """Converts the value of a parameter to its type."""
    if kind is str:
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = None
    if type(value) is int or (type(value) is float and kind is not int):
        return value
    raise InputError(f"{SETTING} must give {parameter} {_KINDS[kind]}, got {text!r}")
