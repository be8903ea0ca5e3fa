"""The training loop: read this file first."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxml import config as settings
from jaxml.config import Config
from jaxml.errors import DivergedError, SaveError
from jaxml.reporting.profile import Profile
from jaxml.reporting.progress import HEADLINES, Display, describe, headline
from jaxml.training.checkpoint import Checkpoints, CheckpointWriter, sha256
from jaxml.training.meter import Clock, Meter
from jaxml.training.origin import Origin
from jaxml.training.program import Program
from jaxml.training.signals import Interrupted, StopSignals
from jaxml.training.steps import TrainState
from jaxml.training.workdir import Workdir

Metrics = dict[str, int | float]


class Run(NamedTuple):
    """The components of the loop: what computes, what is kept, what is shown."""

    program: Program
    files: Workdir
    checkpoints: CheckpointWriter
    display: Display
    signals: StopSignals
    profile: Profile
    origin: Origin


def train_and_evaluate(config: Config, workdir: Path) -> dict[str, Any]:
    """Trains, evaluates and saves; resumes from the newest checkpoint if there is one.

    A run is finished when its last checkpoint is whole and `result.json` is written. A finished run
    is extended by a larger `num_epochs`: the steps that are left follow the schedule of the new
    length. Where the schedule does not depend on the length (constant, inverse_sqrt, inverse_time),
    the parameters are those of an unbroken run of the new length.

    Args:
      config: checked here, before anything is written.
      workdir: folder of the run: new, empty, or of a run with the same settings.

    Returns:
      The content of `result.json`.

    Raises:
      InputError: a setting, file or folder is wrong.
      SaveError: a checkpoint, the metrics or the result cannot be written.
      DivergedError: a loss or a parameter is no longer finite.
      Interrupted: SIGTERM, SIGINT or SIGHUP came; the state is saved.
    """
    settings.check(config)
    files = Workdir(workdir, config)
    program = Program(config)
    origin = Origin.create(config, program.data, program.device)
    if not files.started:
        program.read_weights()
    display = Display(program.num_steps, config.num_epochs)
    with (
        files,
        CheckpointWriter(
            files.checkpoints, config.checkpoint, say=display.say, guard=files.check_owner
        ) as checkpoints,
    ):
        result = files.read_result()
        if result and is_finished(result, program, checkpoints):
            display.say(f"the run in {workdir} is finished")
        else:
            files.set_result_aside()
            steps = settings.parse_steps(config.profile)
            with (
                display,
                StopSignals() as signals,
                Profile(steps, files.profile, display.say) as profile,
            ):
                result = train(Run(program, files, checkpoints, display, signals, profile, origin))
            files.write_result(result)
    display.say(conclusion(program.eval_split, result))
    return result


def is_finished(result: Mapping[str, Any], program: Program, checkpoints: Checkpoints) -> bool:
    """Returns whether a result is that of the whole run and its last checkpoint is there."""
    measured = [result.get(f"{program.eval_split}_{name}") for name in HEADLINES]
    return (
        result.get("steps") == program.num_steps
        and any(isinstance(value, int | float) for value in measured)
        and program.num_steps in checkpoints.steps()
    )


def conclusion(split: str, result: Mapping[str, Any]) -> str:
    """The last line of a run.

    >>> conclusion("test", {"test_accuracy": 0.5})
    'test accuracy 0.5000 (50.00%)'
    """
    prefix = f"{split}_"
    metrics = {k.removeprefix(prefix): v for k, v in result.items() if k.startswith(prefix)}
    name = headline(metrics)
    value = metrics[name]
    return f"{split} {name} {value:.4f}" + (f" ({value:.2%})" if name == "accuracy" else "")


def train(run: Run) -> dict[str, Any]:
    """Starts or resumes, takes the steps that are left, confirms the last checkpoint, sums up."""
    program, files, checkpoints, display, *_ = run
    run, state, clock = start(run)
    step = int(state.step)
    files.rewind_metrics(step, display.say)
    display.begin(step)
    meter = Meter(clock, display, program.objective, steps_per_epoch=program.steps_per_epoch)
    try:
        state, metrics = take_steps(run, state, meter)
    except DivergedError as error:
        steps = checkpoints.steps()
        kept = f"the checkpoint of step {steps[-1]} is kept" if steps else "nothing was saved yet"
        raise DivergedError(
            f"{error}; {kept}; a lower config.optim.learning_rate may help"
        ) from None
    checkpoints.confirm(program.num_steps)
    metrics = metrics or program.evaluate(state)
    return summarize(run, state, metrics, meter.tick())


def start(run: Run) -> tuple[Run, TrainState, Clock]:
    """Compiles, and creates the first state or restores the newest.

    Raises:
      InputError: the newest checkpoint belongs to another run or to other data.
    """
    program, checkpoints, say = run.program, run.checkpoints, run.display.say
    saved, messages, clock = checkpoints.steps(), [], Clock()
    if saved:
        notes = checkpoints.header(saved[-1]).notes
        origin = Origin(**notes["origin"])
        run.origin.check(origin, f"{checkpoints.path(saved[-1])}")
        origin, messages = run.origin.follow(origin, saved[-1])
        run, clock = run._replace(origin=origin), Clock(**notes["clock"])
    program.compile(initial=not saved)
    if saved:
        state = checkpoints.restore(saved[-1], program.abstract_state())
    else:
        state = program.initial_state()
    run.signals.begin()  # until here, nothing is lost if the process ends
    say(f"{program}, compiled in {program.compile_seconds:.1f} s")
    optim = program.config.optim
    if optim.warmup_epochs >= program.config.num_epochs:
        say(
            f"warning: the learning rate never reaches {optim.learning_rate:g}: the warm-up takes "
            f"{optim.warmup_epochs:g} epochs, the run has {program.config.num_epochs}"
        )
    for message in messages:
        say(message)
    if saved:
        say(f"resuming from step {saved[-1]}")
    return run, state, clock


def take_steps(run: Run, state: TrainState, meter: Meter) -> tuple[TrainState, Metrics | None]:
    """The loop. Which images a step sees, and every random number, depend on seed and step only.

    Returns:
      The last state, and its evaluation if a step was left to take.
    """
    program, config, signals, profile = run.program, run.program.config, run.signals, run.profile
    per_epoch, save_every = program.steps_per_epoch, config.checkpoint.every_steps
    step, order, metrics = int(state.step), None, None
    while step < program.num_steps:
        epoch, index = divmod(step, per_epoch)
        if order is None or index == 0:
            order = program.order(epoch)
            meter.start_epoch()
        count = min(program.steps_per_call, per_epoch - index)
        profile.begin(step, count, state)
        state, step_metrics = program.train(state, order, count)
        step += count
        profile.end(step, state, partial(program.text, count))
        meter.add(step, step_metrics)

        metrics = None
        if step % per_epoch == 0:
            evaluate = (epoch + 1) % config.eval_every_epochs == 0 or step == program.num_steps
            metrics = end_epoch(run, state, meter.end_epoch(), evaluate=evaluate)
        save_due = save_every and step // save_every > (step - count) // save_every
        if metrics or save_due or signals.received:
            meter.flush()
            save(run, state, meter.tick(), metrics)
        if signals.received and step < program.num_steps:
            run.checkpoints.confirm(step)
            raise Interrupted(signals.received, step)
    return state, metrics


def save(run: Run, state: TrainState, clock: Clock, metrics: Metrics | None) -> None:
    """Saves a state in the background, after the metrics up to it."""
    notes = {"origin": run.origin._asdict(), "clock": dataclasses.asdict(clock)}
    with tolerating(run):
        run.files.flush()
        run.checkpoints.save(state, notes, metrics)


@contextlib.contextmanager
def tolerating(run: Run) -> Iterator[None]:
    """Reports a failure to save and continues, if the config says so."""
    try:
        yield
    except SaveError as error:
        if run.program.config.checkpoint.on_failure == "stop":
            raise
        run.display.say(f"warning: {error}; the run continues")


def end_epoch(
    run: Run, state: TrainState, images_per_second: float, *, evaluate: bool
) -> Metrics | None:
    """Writes the figures of an epoch, and evaluates and shows them if it is time to.

    Raises:
      DivergedError: the loss of the evaluation is not finite.
    """
    program, files, _, display, *_ = run
    step = int(state.step)
    epoch = step // program.steps_per_epoch
    line = {"step": step, "epoch": epoch, "split": "train"}
    means = program.objective.figures(jax.device_get(state.metrics))
    rate = float(jnp.asarray(program.schedule(step - 1)))
    with tolerating(run):
        files.append_metrics(
            {**line, **means, "images_per_second": images_per_second, "learning_rate": rate}
        )
    text = (
        f"epoch {epoch}/{program.config.num_epochs}  {images_per_second:,.0f} images/s  "
        f"train {describe(means)}"
    )
    metrics = None
    if evaluate:
        start = time.perf_counter()
        metrics = program.evaluate(state)
        speed = metrics["count"] / (time.perf_counter() - start)
        if not math.isfinite(metrics["loss"]):
            raise DivergedError(f"step {step}: the {program.eval_split} loss is {metrics['loss']}")
        with tolerating(run):
            files.append_metrics(
                {**line, "split": program.eval_split, **metrics, "images_per_second": speed}
            )
        display.say(f"{text}  {program.eval_split} {describe(metrics)}")
    return metrics


def summarize(run: Run, state: TrainState, metrics: Metrics, clock: Clock) -> dict[str, Any]:
    """Returns the content of `result.json` of a finished run."""
    program = run.program
    return {
        **{f"{program.eval_split}_{name}": value for name, value in metrics.items()},
        "num_params": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "epochs": program.config.num_epochs,
        "steps": program.num_steps,
        "train_seconds": clock.train_seconds,
        "compile_seconds": program.compile_seconds,
        "images_per_second": clock.images_per_second,
        "params_sha256": sha256({"params": state.params, "batch_stats": state.batch_stats}),
        "device": program.device,
        "jax": jax.__version__,
        "segments": list(run.origin.segments),
    }
