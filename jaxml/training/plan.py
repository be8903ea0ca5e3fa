"""Cost of a run before it starts: operations, memory, input rate and seconds an epoch.

The measurements take a few steps of the run; nothing is written.
"""

import dataclasses
import itertools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxml import _cpu
from jaxml.config import Config
from jaxml.data import num_workers, stream
from jaxml.errors import InputError
from jaxml.io import memory
from jaxml.models import summarize
from jaxml.training.capacity import Fit, largest_batch
from jaxml.training.compilation import TrainCall, compile_program, jit_steps
from jaxml.training.compilation import train_arguments as arguments
from jaxml.training.experiment import Experiment, create_experiment
from jaxml.training.feed import train_feed

STEPS = 5  # timed
LEAST_SECONDS = 2.0  # of timed steps
# Fraction of the peak that training of convolutional networks reaches on an accelerator.
UTILIZATION = 0.35


class Accelerator(NamedTuple):
    """A device of the table of estimates.

    Attributes:
      bfloat16: peak operations a second of dense matrix products in bfloat16.
      float32: the same in float32, in the reduced precision that JAX uses by default.
      bytes: memory.
    """

    bfloat16: float
    float32: float
    bytes: float


# From the data sheets of the vendors.
ACCELERATORS = {
    "t4": Accelerator(65e12, 8.1e12, 16e9),
    "v100": Accelerator(125e12, 15.7e12, 32e9),
    "l4": Accelerator(121e12, 60e12, 24e9),
    "a100": Accelerator(312e12, 156e12, 80e9),
    "h100": Accelerator(989e12, 494e12, 80e9),
    "h200": Accelerator(989e12, 494e12, 141e9),
    "v5e": Accelerator(197e12, 197e12, 16e9),
    "v5p": Accelerator(459e12, 459e12, 95e9),
    "v6e": Accelerator(918e12, 918e12, 32e9),
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """Cost of a run.

    Attributes:
      experiment: the run.
      parameters: number of parameters.
      model_flops: operations of a step, 6 for each multiply-add of the network in evaluation.
      xla_flops: operations of a step by XLA's analysis of the program before it is optimized.
      state_bytes: memory of the state.
      data_bytes: memory of the data sets on each device.
      step_bytes: memory that a step allocates in addition, on each device.
      available_bytes: memory that is available on each device, or None.
      largest: the largest batch that fits, or None.
      compile_seconds: time to compile the step.
      step_seconds: measured time of a step with its data on the device.
      input_seconds: measured time to read a batch; 0 if the data are on the devices.
    """

    experiment: Experiment
    parameters: int
    model_flops: float
    xla_flops: float
    state_bytes: int
    data_bytes: int
    step_bytes: int
    available_bytes: int | None
    largest: Fit | None
    compile_seconds: float
    step_seconds: float
    input_seconds: float

    @property
    def epoch_seconds(self) -> float:
        """Predicted time of the steps of an epoch, whose input overlaps them."""
        return self.experiment.sizes.steps_per_epoch * max(self.step_seconds, self.input_seconds)

    def utilization(self, ceiling: float) -> float:
        """Returns the model's operations a second as a fraction of a ceiling."""
        return self.model_flops / self.step_seconds / ceiling

    def advice(self, utilization: float) -> tuple[str, str]:
        """Returns what limits the run, and the one change that helps.

        Args:
          utilization: see `utilization`.
        """
        config, batch = self.experiment.config, self.experiment.sizes.batch_size
        if self.input_seconds > self.step_seconds:
            return "input", (
                "smaller images: launch.convert --max_side, or a smaller config.data.image_size"
                if config.data.image_size
                else "more CPU cores, and config.data.workers"
            )
        on_cpu = jax.default_backend() == "cpu"
        if not on_cpu and config.model.dtype == "float32":
            return "computation in float32", "config.model.dtype=bfloat16"
        if utilization < 0.2 and self.largest and self.largest.batch_size >= 2 * batch:
            return "small operations", f"config.batch_size={2 * batch} or more"
        return "computation", "an accelerator" if on_cpu else "more devices, or smaller images"


def measure_plan(config: Config) -> Plan:
    """Compiles a step of a run and takes a few, to predict the cost of the run.

    Raises:
      InputError: a setting or file is wrong, or the batch does not fit in memory.
    """
    experiment = create_experiment(config)
    sizes = experiment.sizes
    call = TrainCall(1, experiment.image_size(0))
    largest = largest_batch(experiment)
    if largest and sizes.batch_size > largest.batch_size:
        raise InputError(_too_large(sizes.batch_size, largest))
    xla_flops = _xla_flops(experiment, call)
    begin = time.perf_counter()
    compiled = compile_program(_lower(experiment, call))
    compile_seconds = time.perf_counter() - begin
    step_bytes = memory.of_program(compiled)
    cost = summarize(experiment.learner.model, experiment.input_shape)
    available = memory.available_on(jax.local_devices())
    step_seconds = _time_steps(experiment, call, compiled)
    return Plan(
        experiment=experiment,
        parameters=cost.parameters,
        model_flops=6.0 * cost.multiply_adds * sizes.batch_size,
        xla_flops=xla_flops,
        state_bytes=memory.of_arrays(experiment.abstract_state),
        data_bytes=memory.of_arrays((experiment.train_data, experiment.eval_data)),
        step_bytes=step_bytes,
        available_bytes=available,
        largest=largest,
        compile_seconds=compile_seconds,
        step_seconds=step_seconds,
        input_seconds=_time_input(experiment),
    )


def _lower(experiment: Experiment, call: TrainCall) -> Any:
    step: Any = jit_steps(experiment, [call]).train[call]
    return step.lower(*arguments(experiment, 1))


def _xla_flops(experiment: Experiment, call: TrainCall) -> float:
    """Counts operations in the program before optimization; XLA cannot count those of oneDNN."""
    _cpu.configure(onednn=False)
    try:
        lowered = _lower(experiment, call)
        cost: Any = lowered.cost_analysis()
    finally:
        _cpu.configure(onednn=experiment.config.cpu.onednn)
    return float((cost or {}).get("flops", 0.0))


def _too_large(batch_size: int, largest: Fit) -> str:
    available = memory.in_words(largest.available_bytes)
    if not largest.batch_size:
        return (
            f"config: a step of the smallest batch must fit in the available memory, {available}, "
            f"got {memory.in_words(largest.needed_bytes)}"
        )
    return (
        f"config.batch_size must be at most {largest.batch_size}, the largest batch that fits in "
        f"the available memory, {available}, got {batch_size}"
    )


def _time_steps(experiment: Experiment, call: TrainCall, step: Callable[..., Any]) -> float:
    """Returns the median time of a step."""
    steps = jit_steps(experiment, [call])
    state = steps.init(experiment.keys.init, experiment.normalizer)
    order = steps.epoch_order(experiment.keys.order, experiment.replicate(0))
    seconds: list[float] = []
    with train_feed(experiment, steps.epoch_order, first_step=0) as data:
        batch = data(1)
    for index in itertools.count():
        begin = time.perf_counter()
        state, *_ = jax.block_until_ready(step(state, batch, order, experiment.keys.step))
        if index:  # the first step warms up
            seconds.append(time.perf_counter() - begin)
        if len(seconds) >= STEPS and sum(seconds) > LEAST_SECONDS:
            break
    return sorted(seconds)[len(seconds) // 2]


def _time_input(experiment: Experiment) -> float:
    """Returns the time to read a batch, with nothing else to do."""
    if experiment.streamed is None:
        return 0.0
    sizes, split = experiment.sizes, experiment.streamed.train
    count = min(STEPS + 1, sizes.steps_per_epoch)
    batches = ([stream.Draw(i, 0) for i in range(start * sizes.batch_size,
               (start + 1) * sizes.batch_size)] for start in range(count))  # fmt: skip
    begin = time.perf_counter()
    for _ in stream.stream(split, batches, workers=num_workers(experiment.config.data)):
        pass
    return (time.perf_counter() - begin) / count


class Estimate(NamedTuple):
    """An estimate for devices that are not there.

    Attributes:
      epoch_seconds: time of the steps of an epoch, at a typical utilization of the peak.
      needed_bytes: memory on each device.
      fits: whether it fits.
    """

    epoch_seconds: float
    needed_bytes: float
    fits: bool


def estimate(plan: Plan, accelerator: Accelerator, count: int) -> Estimate:
    """Estimates a run on other devices, from the operations and the memory of a step here.

    Args:
      plan: the measurements.
      accelerator: the device.
      count: number of devices.
    """
    experiment = plan.experiment
    peak = accelerator.float32
    if experiment.config.model.dtype == "bfloat16":
        peak = accelerator.bfloat16
    seconds = plan.model_flops / (count * peak * UTILIZATION)
    here = experiment.replicated.mesh.size
    needed = plan.state_bytes + plan.data_bytes + plan.step_bytes * here / count
    return Estimate(
        experiment.sizes.steps_per_epoch * seconds, needed, needed < 0.95 * accelerator.bytes
    )
