"""Evaluation of a training state on the evaluation set."""

import contextlib

import jax
import numpy as np

from jaxml.training.compilation import StepFunctions
from jaxml.training.experiment import Experiment
from jaxml.training.feed import eval_feed, train_feed
from jaxml.training.steps import TrainState, eval_variables
from jaxml.types import PyTree


def evaluate(
    experiment: Experiment, steps: StepFunctions, state: TrainState
) -> dict[str, int | float]:
    """Computes the metrics over the whole evaluation set; each example counts once."""
    state = reestimate_statistics(experiment, steps, state)
    metrics = steps.zero_metrics()
    with contextlib.closing(eval_feed(experiment)) as feed:
        for start, data in feed:
            metrics, _ = steps.evaluate(state, metrics, data, experiment.replicate(start))
    return experiment.learner.objective.compute(jax.device_get(metrics))


def evaluation_outputs(
    experiment: Experiment, steps: StepFunctions, state: TrainState
) -> np.ndarray:
    """Computes the outputs of the model for every example of the evaluation set, in its order."""
    state = reestimate_statistics(experiment, steps, state)
    metrics, outputs = steps.zero_metrics(), []
    with contextlib.closing(eval_feed(experiment)) as feed:
        for start, data in feed:
            found = steps.evaluate(state, metrics, data, experiment.replicate(start))[1]
            outputs.append(np.asarray(found, np.float32))
    return np.concatenate(outputs)[: experiment.sizes.eval_count]


def final_variables(
    experiment: Experiment, steps: StepFunctions, state: TrainState
) -> dict[str, PyTree]:
    """Returns the parameters and statistics that `evaluate` uses."""
    return eval_variables(experiment.learner, reestimate_statistics(experiment, steps, state))


def reestimate_statistics(
    experiment: Experiment, steps: StepFunctions, state: TrainState
) -> TrainState:
    """Recomputes the batch-normalization statistics of averaged parameters, if necessary.

    The average of the running statistics does not fit the averaged parameters, so it is replaced by
    the mean over the batches of the first epoch.

    Returns:
      The state with new statistics in its average; unchanged if the averaging does not need them.
    """
    averaging = experiment.learner.averaging
    if not (averaging.reestimates and state.batch_stats and int(state.average.count)):
        return state
    keys, num_batches = experiment.keys, experiment.sizes.steps_per_epoch
    order, total = steps.epoch_order(keys.order, experiment.replicate(0)), None
    with train_feed(experiment, steps.epoch_order, first_step=0) as data:
        for index in range(num_batches):
            number = experiment.replicate(index)
            moments = steps.batch_moments(state, data(1), order, number, keys.step)
            total = moments if total is None else steps.add_moments(total, moments)
    mean = jax.tree.map(lambda leaf: leaf / num_batches, total)
    variables = {**state.average.variables, "batch_stats": mean}
    return state.replace(average=state.average.replace(variables=variables))
