"""The training loop: read this file first."""

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from signal import Signals
from typing import Any, NamedTuple

import jax

from jaxml.config import Config, check, parse_steps
from jaxml.errors import DivergedError
from jaxml.reporting.meter import Clock, Meter
from jaxml.reporting.profile import Profile
from jaxml.reporting.progress import HEADLINES, Display, conclusion, describe
from jaxml.training import hosts, skipping
from jaxml.training.checkpoint import Checkpoints, CheckpointWriter
from jaxml.training.compilation import StepFunctions, compile_steps, train_call, train_calls
from jaxml.training.digest import sha256
from jaxml.training.evaluation import evaluate
from jaxml.training.experiment import Experiment, create_experiment
from jaxml.training.feed import train_feed
from jaxml.training.initialize import initial_state, read_weights
from jaxml.training.norms import by_layer
from jaxml.training.observation import (
    announce,
    open_observers,
    show_batch,
    show_parameters,
    show_start,
)
from jaxml.training.origin import Origin
from jaxml.training.recorder import Recorder
from jaxml.training.report import report, report_saved
from jaxml.training.signals import Interrupted, StopSignals
from jaxml.training.steps import TrainState
from jaxml.training.stopping import Stopping
from jaxml.training.watchdog import Watchdog
from jaxml.training.workdir import CHECKPOINTS, Workdir, check_workdir, open_workdir
from jaxml.types import Array, Batch, PyTree

Metrics = dict[str, int | float]
SAVE = 256  # requests a checkpoint from all processes; larger than the number of any signal


def train_and_evaluate(
    config: Config, workdir: Path | str, *, progress: Callable[[int], None] = lambda _: None
) -> dict[str, Any]:
    """Trains, evaluates and saves; resumes from the newest checkpoint if there is one.

    A run is finished when its last checkpoint is complete and `result.json` is written. Its report
    is written then; if a signal or a full disk prevents that, the next call writes it. A larger
    `num_epochs` extends a finished run: the remaining steps follow the schedule of the new length.
    If the schedule does not depend on the length (constant, inverse_sqrt, inverse_time), the
    parameters are those of an uninterrupted run of the new length. `train_seeds` describes
    `num_seeds`.

    Args:
      config: config of the run; checked before anything is written.
      workdir: folder of the run: new, empty, or of a run with the same config. If several processes
        train (see `jaxml.training.hosts`), it must be the same for all; process 0 writes.
      progress: called with the number of steps that have ended, after each call.

    Returns:
      The content of `result.json`.

    Raises:
      InputError: a setting, file or folder is wrong.
      SaveError: a checkpoint, the metrics or the result cannot be written.
      DivergedError: a loss or a parameter is not finite.
      Interrupted: SIGTERM, SIGINT or SIGHUP stopped the run; its state is saved.
    """
    begin = time.perf_counter()
    workdir = Path(workdir)
    check(config)
    if config.num_seeds > 1:
        from jaxml.training.seeds import train_seeds  # it calls this function for each seed

        return train_seeds(config, workdir, progress)
    check_workdir(workdir, config)
    experiment = create_experiment(config)
    hosts.check_same({**experiment.data_digests, "number of devices": len(jax.local_devices())})
    resuming = hosts.share(bool(Checkpoints(workdir / CHECKPOINTS).steps()))
    weights = None if resuming else read_weights(experiment)
    display = Display(
        experiment.sizes.num_steps,
        config.num_epochs,
        learning_rate=lambda step: float(experiment.schedule(step)),
        quiet=not hosts.is_first(),
    )
    with (
        open_workdir(workdir, config, writes=hosts.is_first()) as files,
        contextlib.closing(
            CheckpointWriter(
                files.checkpoints, config.checkpoint, say=display.say, guard=files.check_owner
            )
        ) as checkpoints,
    ):
        if experiment.class_names:
            files.write_classes(experiment.class_names)
        found = files.read_result()
        finished = found and is_finished(found, experiment, checkpoints)
        if result := hosts.share(found if finished else None):
            display.say(f"the run in {workdir} is finished")
            if config.log.report:
                report_saved(experiment, result["steps"], checkpoints, files, display)
        else:
            files.set_result_aside()
            start = prepare(experiment, checkpoints, weights)
            del weights  # frees host memory
            prepared = time.perf_counter() - begin - start.steps.compile_seconds
            start.clock.phases["prepare"] = prepared
            state, result = train(experiment, start, files, checkpoints, display, progress)
            files.write_result(result)
            if config.log.report:
                report(experiment, start.steps, lambda: state, files, display)
    display.say(conclusion(experiment.eval_split, result))
    return result


def is_finished(
    result: Mapping[str, Any], experiment: Experiment, checkpoints: Checkpoints
) -> bool:
    """Returns whether a result has the metrics of the last step, whose checkpoint exists.

    The last step is that of the whole run, or the one at which the same patience ended it.
    """
    headlines = [result.get(f"{experiment.eval_split}_{name}") for name in HEADLINES]
    steps, patience = result.get("steps"), result.get("patience")
    stopped_early = patience is not None and patience == experiment.config.patience
    return (
        (steps == experiment.sizes.num_steps or stopped_early)
        and any(isinstance(value, int | float) for value in headlines)
        and steps in checkpoints.steps()
    )


class Start(NamedTuple):
    """A run that is ready to take its next step.

    Attributes:
      steps: compiled functions.
      state: initial or restored state.
      clock: time that the run took before it stopped; zero for a new run.
      stopping: state of early stopping.
      origin: stored with every checkpoint from here on.
      messages: lines to print.
    """

    steps: StepFunctions
    state: TrainState
    clock: Clock
    stopping: Stopping
    origin: Origin
    messages: list[str]


def prepare(experiment: Experiment, checkpoints: CheckpointWriter, weights: PyTree) -> Start:
    """Compiles the steps, and restores the newest checkpoint or initializes the state.

    Raises:
      InputError: the newest checkpoint belongs to another run or to other data.
    """
    config, saved = experiment.config, hosts.share(checkpoints.steps())
    origin = Origin.create(config, experiment.data_digests, experiment.device)
    if not saved:
        steps = compile_steps(experiment, train_calls(experiment), init=True)
        hosts.barrier()
        state = initial_state(experiment, steps, weights)
        return Start(steps, state, Clock(), Stopping(), origin, messages=[])
    step = saved[-1]
    notes = checkpoints.header(step).notes
    previous = Origin(**notes["origin"])
    origin.check(previous, f"{checkpoints.path(step)}")
    origin, messages = origin.resume(previous, step)
    steps = compile_steps(experiment, train_calls(experiment, step), init=False)
    hosts.barrier()
    state = checkpoints.restore(step, experiment.abstract_state)
    messages.append(f"resuming from step {step}")
    clock, stopping = Clock(**notes["clock"]), Stopping(**notes.get("stopping", {}))
    return Start(steps, state, clock, stopping, origin, messages)


class Reporters(NamedTuple):
    """Observers of the loop: terminal, metrics of the epoch, profiler, watchdog and caller."""

    display: Display
    meter: Meter
    profile: Profile
    watchdog: Watchdog
    progress: Callable[[int], None]


def train(
    experiment: Experiment,
    start: Start,
    files: Workdir,
    checkpoints: CheckpointWriter,
    display: Display,
    progress: Callable[[int], None],
) -> tuple[TrainState, dict[str, Any]]:
    """Takes the remaining steps, confirms the last checkpoint; returns the state and the result."""
    config, objective = experiment.config, experiment.learner.objective
    step = int(start.state.step)
    warn = display.say if config.checkpoint.on_failure == "continue" else None
    observers = open_observers(experiment, files.path, step, display.say)
    recorder = Recorder(files, checkpoints, start.origin, warn, observers)
    profiled = parse_steps(config.profile if hosts.is_first() else None)
    profile = Profile(profiled, files.profile, display.say)
    feed = train_feed(experiment, start.steps.epoch_order, step, display.say)
    watch = Watchdog(config.log.stall_seconds, lambda s: display.say(f"warning: {s}"), step)
    with (
        StopSignals() as signals,
        display.live(step),
        contextlib.closing(profile),
        contextlib.closing(observers),
        feed as data,
        watch as watchdog,
    ):
        announce(experiment, start.steps.compile_seconds, start.messages, display.say)
        if not step:
            show_start(observers, experiment, start.steps)
        files.rewind_metrics(step, display.say)
        meter = Meter(
            start.clock,
            display,
            zero=objective.metrics.empty,
            compute=objective.compute,
            steps_per_epoch=experiment.sizes.steps_per_epoch,
            observe=partial(show_batch, observers, experiment) if observers else None,
        )
        reporters = Reporters(display, meter, profile, watchdog, progress)
        try:
            state, metrics = take_steps(experiment, start, data, recorder, reporters, signals)
        except DivergedError as error:
            saved = checkpoints.steps()
            kept = f"the checkpoint of step {saved[-1]} is kept" if saved else "nothing was saved"
            advice = "a lower config.optim.learning_rate may help"
            raise DivergedError(f"{error}; {kept}; {advice}") from None
        checkpoints.confirm(int(state.step))
        metrics = metrics or evaluate(experiment, start.steps, state)
        return state, summarize(experiment, start, state, metrics, meter.tick())


def take_steps(
    experiment: Experiment,
    start: Start,
    data: Callable[[int], Batch],
    recorder: Recorder,
    reporters: Reporters,
    signals: StopSignals,
) -> tuple[TrainState, Metrics | None]:
    """Takes the remaining steps of the run.

    The examples and the random numbers of a step are functions of the seed and the step.

    Returns:
      The last state and its metrics; the metrics are None if no step was left.
    """
    config, sizes, keys = experiment.config, experiment.sizes, experiment.keys
    meter, profile, watchdog = reporters.meter, reporters.profile, reporters.watchdog
    steps, state, stopping = start.steps, start.state, start.stopping
    agree = hosts.Agreement(experiment.sharded)
    step, order, metrics, clock = int(state.step), None, None, meter.clock
    while step < sizes.num_steps and not stopping.is_due(config.patience):
        epoch, index = divmod(step, sizes.steps_per_epoch)
        if order is None or index == 0:
            order = steps.epoch_order(keys.order, experiment.replicate(epoch))
            meter.start_epoch()
        call = train_call(experiment, step)
        count = call.num_steps
        profile.before_call(step, count, state)
        watchdog.waits_for("the input")
        with clock.timing("input"):
            batches = data(count)
        watchdog.waits_for("the device")
        state, step_metrics, norms = steps.train[call](state, batches, order, keys.step)
        step += count
        profile.after_call(step, state, partial(steps.train_hlo, call))
        meter.add(step, step_metrics)
        watchdog.step_ended(step - count)  # the meter has read the metrics of the previous call
        reporters.progress(step - count)

        metrics = None
        if step % sizes.steps_per_epoch == 0:
            due = (epoch + 1) % config.eval_every_epochs == 0 or step == sizes.num_steps
            metrics = end_epoch(
                experiment, steps, state, norms, recorder, reporters, evaluation_due=due
            )
        if metrics:
            stopping = stopping.update(step, metrics)
        request = agree(signals.received or SAVE * recorder.checkpoints.is_overdue())
        if metrics or request or recorder.checkpoints.is_due(step, count):
            meter.flush()
            watchdog.waits_for("the checkpoint")
            with clock.timing("checkpoints"):
                recorder.save(state, meter.tick(), stopping, metrics)
        if 0 < request < SAVE and step < sizes.num_steps:
            recorder.checkpoints.confirm(step)
            raise Interrupted(Signals(request), step)
    if step < sizes.num_steps:
        reporters.display.say(
            f"stopped at step {step}, after {stopping.num_worse} evaluations that are not better "
            f"than that of step {stopping.best_step}"
        )
    return state, metrics


def end_epoch(
    experiment: Experiment,
    steps: StepFunctions,
    state: TrainState,
    norms: Array,
    recorder: Recorder,
    reporters: Reporters,
    *,
    evaluation_due: bool,
) -> Metrics | None:
    """Records the training metrics of an epoch; if an evaluation is due, runs and reports it.

    Raises:
      DivergedError: the loss of the evaluation is not finite.
    """
    images_per_second = reporters.meter.end_epoch()
    step, split = int(state.step), experiment.eval_split
    epoch = step // experiment.sizes.steps_per_epoch
    line = {"step": step, "epoch": epoch, "split": "train"}
    means = experiment.learner.objective.compute(jax.device_get(state.metrics))
    rate = float(experiment.schedule(step - 1))
    measured: dict[str, Any] = {"images_per_second": images_per_second, "learning_rate": rate}
    measured |= skipping.skipped_steps(state.skips)
    if (every := experiment.config.log.layers_every_epochs) and epoch % every == 0:
        measured["layers"] = by_layer(state.params, norms)
    recorder.append_metrics({**line, **means, **measured})
    show_parameters(recorder.observers, experiment, epoch, step, state.params)
    if not evaluation_due:
        return None
    reporters.watchdog.step_ended(step)
    reporters.watchdog.waits_for("the evaluation")
    begin = time.perf_counter()
    with reporters.meter.clock.timing("evaluation"):
        metrics = evaluate(experiment, steps, state)
    speed = metrics["count"] / (time.perf_counter() - begin)
    if not math.isfinite(metrics["loss"]):
        raise DivergedError(f"step {step}: the {split} loss is {metrics['loss']}")
    recorder.append_metrics({**line, "split": split, **metrics, "images_per_second": speed})
    reporters.display.say(
        f"epoch {epoch}/{experiment.config.num_epochs}  {images_per_second:,.0f} images/s  "
        f"train {describe(means)}  {split} {describe(metrics)}{skipping.describe(state.skips)}"
    )
    return metrics


def summarize(
    experiment: Experiment, start: Start, state: TrainState, metrics: Metrics, clock: Clock
) -> dict[str, Any]:
    """Returns the content of `result.json` of a finished run."""
    sizes, step = experiment.sizes, int(state.step)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    early = {"patience": experiment.config.patience} if step < sizes.num_steps else {}
    return {
        **{f"{experiment.eval_split}_{name}": value for name, value in metrics.items()},
        "num_params": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "epochs": step // sizes.steps_per_epoch,
        "steps": step,
        **early,
        **skipping.skipped_steps(state.skips),
        "train_seconds": clock.train_seconds,
        "compile_seconds": start.steps.compile_seconds,
        "images_per_second": clock.images_per_second,
        "phases": clock.by_phase(start.steps.compile_seconds),
        **({"damaged_images": list(experiment.damage.values())} if experiment.damage else {}),
        "params_sha256": sha256(hosts.gather(variables)),
        "device": experiment.device,
        "jax": jax.__version__,
        "segments": list(start.origin.segments),
    }
