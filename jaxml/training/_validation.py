"""Checks of a config against its data, its model and the devices."""

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import FlaxError

from jaxml.config import Config, parse_steps
from jaxml.data import augment
from jaxml.data.augment import Augmentation
from jaxml.errors import InputError
from jaxml.io import memory
from jaxml.optim import is_frozen
from jaxml.training.objective import SOFT_LABEL_LOSSES, class_counts
from jaxml.training.steps import Learner, TrainState
from jaxml.types import Array, PyTree

MAX_STEPS = 2**31 - 1  # the step is an int32


def check_batch_sizes(config: Config, batch_size: int, train_count: int, num_devices: int) -> None:
    """Checks that batches fit the training set and divide evenly over the devices.

    Args:
      config: provides `batch_size` and `eval_batch_size`.
      batch_size: examples in a training batch; the whole set if `config.batch_size` is None.
      train_count: examples in the training set.
      num_devices: number of devices.
    """
    if batch_size > train_count:
        raise InputError(
            f"config.batch_size must be at most {train_count}, the size of the training set, "
            f"got {batch_size}"
        )
    whole = "" if config.batch_size else " (the whole training set)"
    for name, value, note in (
        ("batch_size", batch_size, whole),
        ("eval_batch_size", config.eval_batch_size, ""),
    ):
        if value % num_devices:
            raise InputError(
                f"config.{name} must be a multiple of {num_devices}, the number of devices, "
                f"got {value}{note}"
            )


def check_batch_norm_groups(config: Config, batch_size: int, batch_stats: PyTree) -> None:
    """Checks that batch norm, if the config divides its batches, exists and gets equal groups.

    Args:
      config: provides `model.batch_norm_groups`.
      batch_size: examples in a training batch.
      batch_stats: running statistics of the model.
    """
    groups = config.model.batch_norm_groups
    if groups and not batch_stats:
        raise InputError(
            f"config.model.batch_norm_groups must be unset for {config.model.name}, which has no "
            f"batch norm, got {groups}"
        )
    if groups and batch_size % groups:
        raise InputError(
            f"config.model.batch_norm_groups must divide {batch_size}, the number of examples of a "
            f"batch, got {groups}"
        )


def check_num_steps(config: Config, num_steps: int) -> None:
    """Checks the length of the run and the settings that must lie within it."""
    if num_steps > MAX_STEPS:
        raise InputError(
            f"config.num_epochs must result in at most {MAX_STEPS} steps, "
            f"got {config.num_epochs}, which is {num_steps} steps"
        )
    if parse_steps(config.profile).stop > num_steps:
        raise InputError(
            f"config.profile must end at step {num_steps} or before, the end of the run, "
            f"got {config.profile!r}"
        )
    if config.optim.accumulate_steps > num_steps:
        raise InputError(
            f"config.optim.accumulate_steps must be at most the {num_steps} steps of the run, "
            f"got {config.optim.accumulate_steps}"
        )


def check_balance(config: Config, targets: np.ndarray, num_classes: int) -> None:
    """Checks that every class has a training example if the classes are to be balanced."""
    if not config.data.balanced:
        return
    if not num_classes:
        raise InputError(
            f"config.data.balanced must be false for {config.data.name}, which has no classes, "
            "got true"
        )
    class_counts("data.balanced", targets, num_classes)


def check_images(config: Config, example: jax.ShapeDtypeStruct) -> None:
    """Checks that settings of images are unset if the examples, `[1, ...]`, are features."""
    data = config.data
    settings = {
        "data.augment": (data.augment, ()),
        "data.progressive_sizes": (data.progressive_sizes, ()),
        "eval_flip": (config.eval_flip, False),
    }
    for name, (value, unset) in settings.items():
        if value != unset and len(example.shape) != 4:
            raise InputError(
                f"config.{name} must be {unset} for {data.name}, which has no images, got {value}"
            )


def check_augmentations(
    config: Config, augmentations: Sequence[Augmentation], example: jax.ShapeDtypeStruct
) -> None:
    """Checks augmentations against the loss and the images.

    Args:
      config: names the data set and the loss.
      augmentations: the augmentations.
      example: shape and dtype of one training example, `[1, ...]`.
    """
    loss = config.loss.name
    for augmentation in augmentations:
        if augmentation.mixes and loss not in SOFT_LABEL_LOSSES:
            raise InputError(
                f"config.data.augment must not mix labels unless config.loss.name is one of "
                f"{', '.join(SOFT_LABEL_LOSSES)}, got {augmentation} with {loss}"
            )
        height, width = example.shape[1:3]
        padding = dict(augmentation.parameters).get("padding", 0)
        if augmentation.name == "crop" and int(padding) >= min(height, width):
            raise InputError(
                "config.data.augment must pad crops by less than the height and width of the "
                f"images, {height}x{width}, got {augmentation}"
            )
        try:
            jax.eval_shape(partial(_apply_one, augmentation), example)
        except (TypeError, ValueError) as error:
            shape = "x".join(map(str, example.shape[1:]))
            raise InputError(
                f"config.data.augment must suit {shape} images, got {augmentation}: {error}"
            ) from None


def _apply_one(augmentation: Augmentation, images: Array) -> augment.Examples:
    number, key = jnp.zeros((1,), jnp.int32), jax.random.key(0)
    examples = augment.Examples(images, number, number)
    return augment.apply(
        [augmentation], [key], examples, run_key=key, epoch=jnp.int32(0), num_classes=2
    )


def check_train_sizes(
    config: Config, learner: Learner, state: TrainState, example: jax.ShapeDtypeStruct
) -> None:
    """Checks that the run has epochs for all training image sizes, and the model accepts them.

    Args:
      config: provides the sizes.
      learner: provides the model.
      state: shapes of the state.
      example: shape and dtype of one training example, `[1, height, width, channels]`.
    """
    sizes = config.data.progressive_sizes
    if len(sizes) > config.num_epochs:
        raise InputError(
            f"config.data.progressive_sizes must have at most {config.num_epochs} sizes, one for "
            f"each epoch, got {len(sizes)}"
        )

    def apply(state: TrainState, images: Array) -> PyTree:
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        return learner.model.apply(variables, state.normalizer.apply(images), train=False)

    settings = [("progressive_sizes", size) for size in sizes]
    if config.data.train_image_size:
        settings.append(("train_image_size", config.data.train_image_size))
    for name, size in settings:
        resized = jax.ShapeDtypeStruct((1, size, size, *example.shape[3:]), example.dtype)
        try:
            jax.eval_shape(apply, state, resized)
        except (TypeError, ValueError, FlaxError) as error:
            raise InputError(
                f"config.data.{name} must suit {config.model.name} and "
                f"config.data.normalization={config.data.normalization}, got {size}: "
                f"{str(error).splitlines()[0]}"
            ) from None


@contextlib.contextmanager
def input_shape_errors(config: Config, input_shape: tuple[int, ...]) -> Iterator[None]:
    """Converts a ValueError of the model's initialization to an InputError about its inputs."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        name, data = config.model.name, config.data
        if len(input_shape) == 3:
            shape = "x".join(map(str, input_shape))
            message = f"config.model.name must accept {shape} images, got {name!r}: {error}"
        else:
            message = (
                f"config.model.name must accept examples of shape {input_shape}, the shape of "
                f"{data.name} after config.data.normalization={data.normalization}, got {name!r}, "
                "which takes images"
            )
        raise InputError(message) from None


def check_memory(config: Config, needed: int, arrays: str) -> None:
    """Checks that each device has memory available for a run's arrays.

    Args:
      config: names the model in the message.
      needed: bytes on each device.
      arrays: describes the arrays in the message.
    """
    memory.check(needed, f"config: {arrays} of {config.model.name}", jax.local_devices())


def check_frozen(pattern: str | None, params: PyTree) -> None:
    """Checks that a pattern freezes some parameters but not all."""
    if not pattern:
        return
    leaves = jax.tree_util.tree_leaves_with_path(params)
    paths = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    frozen = [path for path in paths if is_frozen(pattern, path)]
    if len(frozen) in (0, len(paths)):
        first = ", ".join(sorted({path.split("/")[0] for path in paths}))
        raise InputError(
            f"config.weights.freeze must match some parameters and not all, got {pattern!r}, which "
            f"matches {'all' if frozen else 'none'}; their paths begin with {first}"
        )
