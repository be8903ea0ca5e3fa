"""The state before the first step: drawn at random, or with pretrained weights."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxml.config import user_path
from jaxml.training.compilation import StepFunctions
from jaxml.training.experiment import Experiment
from jaxml.training.steps import TrainState
from jaxml.types import PyTree
from jaxml.weights import load


def read_weights(experiment: Experiment) -> dict[str, Any] | None:
    """Reads the pretrained weights that the config names.

    Returns:
      Parameters and statistics, or None if the config names no file. The leaves of a new head are
      `jax.ShapeDtypeStruct`.

    Raises:
      InputError: the file cannot be read, or holds another model.
    """
    config, state = experiment.config.weights, experiment.abstract_state
    if not config.file:
        return None
    return load(
        user_path(config.file),
        experiment.config.model.name,
        experiment.learner.model,
        {"params": state.params, "batch_stats": state.batch_stats},
        experiment.input_shape,
        entry=config.entry or "",
        new_head=config.new_head,
    )


def initial_state(
    experiment: Experiment, steps: StepFunctions, weights: PyTree = None
) -> TrainState:
    """Returns the state before the first step, on the devices.

    Args:
      experiment: the experiment.
      steps: functions of the experiment.
      weights: result of `read_weights`; None keeps the random parameters.
    """
    state = steps.init(experiment.keys.init, experiment.normalizer)
    if weights is None:
        return state
    variables = jax.tree.map(
        lambda read, drawn: drawn if isinstance(read, jax.ShapeDtypeStruct) else jnp.asarray(read),
        weights,
        {"params": state.params, "batch_stats": state.batch_stats},
    )
    state = state.replace(**variables, average=experiment.learner.averaging.init(variables))
    return jax.device_put(state, experiment.state_sharding, may_alias=False)
