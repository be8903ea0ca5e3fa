"""Computes the findings about a trained network that the report of its run shows."""

import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.data import stream
from jaxml.data.stream import Draw
from jaxml.models import summarize, summarize_layers
from jaxml.reporting.findings import Findings
from jaxml.training.compilation import StepFunctions
from jaxml.training.evaluation import evaluation_outputs
from jaxml.training.experiment import Experiment
from jaxml.training.inspect import augmented_batch, label_name
from jaxml.training.steps import TrainState, eval_variables
from jaxml.types import PyTree

HINGE = "hinge"  # in the names of the losses whose outputs are margins
SAMPLES = 24  # examples of an augmented batch
KERNELS = 64


def find(experiment: Experiment, steps: StepFunctions, state: TrainState) -> Findings:
    """Computes the findings of a trained state; takes one evaluation of the evaluation set.

    Args:
      experiment: the experiment.
      steps: its functions, jitted or compiled.
      state: the trained state.
    """
    objective, count = experiment.learner.objective, experiment.sizes.eval_count
    data = experiment.streamed.test if experiment.streamed else experiment.eval_data
    shape = data.inputs.shape[1:]
    are_images = len(shape) == 3 and shape[-1] in (1, 3)
    samples, captions = None, []
    if are_images and int(state.step):
        samples, captions = _samples(experiment, steps, int(state.step) - 1)
    model, shape = experiment.learner.model, experiment.input_shape
    layers = [layer.path for layer in summarize_layers(model, shape)]
    params = eval_variables(experiment.learner, state)["params"]
    return Findings(
        outputs=evaluation_outputs(experiment, steps, state),
        targets=np.asarray(data.targets)[:count],
        num_classes=objective.num_classes,
        probabilistic=HINGE not in experiment.config.loss.name,
        class_names=experiment.class_names,
        layers=layers,
        multiply_adds=summarize(model, shape).multiply_adds,
        peak_flops=measure_peak(),
        kernels=first_kernels(params, layers, shape),
        samples=samples,
        sample_captions=captions,
        images=(lambda indices: eval_images(experiment, indices)) if are_images else None,
    )


def eval_images(experiment: Experiment, indices: Sequence[int]) -> np.ndarray:
    """Returns examples of the evaluation set as uint8 images."""
    if experiment.streamed is None:
        return to_uint8(np.asarray(experiment.eval_data.inputs)[np.asarray(indices)])
    draws = [[Draw(index) for index in indices]]
    ((images, _),) = stream.stream(experiment.streamed.test, draws, workers=0)
    return to_uint8(images)


def first_kernels(
    params: PyTree, layers: Sequence[str], input_shape: Sequence[int]
) -> np.ndarray | None:
    """Returns the kernels of the first layer as images.

    Args:
      params: parameters of the network.
      layers: paths of the layers with parameters, in the order of their calls.
      input_shape: shape of one example.

    Returns:
      `[n, height, width, 1 or 3]`, at most 64 of them; None if the first layer does not see the
      pixels of an image of 1 or 3 channels in a window larger than one pixel.
    """
    if len(input_shape) != 3 or input_shape[-1] not in (1, 3):
        return None
    leaves = {"/".join(key.key for key in p): leaf for p, leaf in jax.tree.leaves_with_path(params)}
    names = [f"{layer}/kernel" for layer in layers]
    kernel = next((leaves[name] for name in names if name in leaves), None)
    if kernel is None:
        return None
    if kernel.ndim == 4 and kernel.shape[2] == input_shape[-1] and kernel.shape[0] > 1:
        return np.moveaxis(np.asarray(kernel, np.float32), 3, 0)[:KERNELS]
    if kernel.ndim == 2 and kernel.shape[0] == np.prod(input_shape):  # a layer on all pixels
        return np.asarray(kernel, np.float32).T.reshape(-1, *input_shape)[:KERNELS]
    return None


def measure_peak() -> float:
    """Measures the operations per second of a large float32 matrix product on the first device."""
    size = 1024 if jax.default_backend() == "cpu" else 8192
    matrix = jnp.ones((size, size), jnp.float32)
    product = jax.jit(jnp.matmul)
    seconds = []
    for _ in range(4):  # the first one compiles
        begin = time.perf_counter()
        jax.block_until_ready(product(matrix, matrix))
        seconds.append(time.perf_counter() - begin)
    return 2 * size**3 / min(seconds[1:])


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Returns images as uint8; other dtypes are scaled from their smallest to their largest value.

    >>> to_uint8(np.array([0.0, 0.5])).tolist()
    [0, 255]
    """
    if images.dtype == np.uint8:
        return images
    low, high = images.min(), images.max()
    return np.round(255 * (images - low) / max(high - low, 1e-12)).astype(np.uint8)


def _samples(
    experiment: Experiment, steps: StepFunctions, step: int
) -> tuple[np.ndarray, list[str]]:
    """Returns the first examples of the augmented batch of a step, and their labels."""
    taken = augmented_batch(experiment, steps, step)
    labels = [label_name(experiment, target) for target in taken.targets[:SAMPLES]]
    return to_uint8(taken.inputs[:SAMPLES]), labels
