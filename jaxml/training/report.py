"""Writes the report of a finished run from its trained state."""

from collections.abc import Callable
from pathlib import Path

from jaxml.errors import one_line
from jaxml.reporting.progress import Display
from jaxml.reporting.run_files import REPORT
from jaxml.training import hosts
from jaxml.training.checkpoint import Checkpoints
from jaxml.training.compilation import StepFunctions, jit_steps
from jaxml.training.experiment import Experiment
from jaxml.training.origin import Origin
from jaxml.training.steps import TrainState
from jaxml.training.workdir import RESULT, Workdir


def report(
    experiment: Experiment,
    steps: StepFunctions,
    load: Callable[[], TrainState],
    files: Workdir,
    display: Display,
) -> None:
    """Writes the report of a finished run; a failure is one line, as the result is complete.

    Args:
      experiment: the experiment.
      steps: its functions, jitted or compiled.
      load: returns the trained state.
      files: folder of the run.
      display: receives the line that names the report, or the failure.
    """
    from jaxml.reporting.report import write_report  # imports scikit-learn, a second of start-up
    from jaxml.training.findings import find

    try:
        findings = find(experiment, steps, load())
        if hosts.is_first():
            files.check_owner()
            display.say(f"report in {write_report(files.path, findings)}")
    except Exception as error:  # noqa: BLE001 (whatever fails here, the run has succeeded)
        display.say(f"warning: the report could not be written: {one_line(error, 300)}")


def report_saved(
    experiment: Experiment, step: int, checkpoints: Checkpoints, files: Workdir, display: Display
) -> None:
    """Writes the report of a finished run from its last checkpoint, if `is_due`.

    Args:
      experiment: the experiment.
      step: last step of the run.
      checkpoints: checkpoints of the run.
      files: folder of the run.
      display: see `report`.
    """

    def load() -> TrainState:
        origin = Origin.create(experiment.config, experiment.data_digests, experiment.device)
        saved = Origin(**checkpoints.header(step).notes["origin"])
        origin.check(saved, f"{checkpoints.path(step)}")
        return checkpoints.restore(step, experiment.abstract_state)

    if hosts.share(hosts.is_first() and is_due(files.path)):
        report(experiment, jit_steps(experiment), load, files, display)


def is_due(path: Path) -> bool:
    """Returns whether a finished run has no report of its result.

    There is none, or one of a shorter run, if a signal or a full disk ended the process after the
    result was written.

    Args:
      path: folder of the run.
    """
    written, result = path / REPORT, path / RESULT
    return not written.exists() or written.stat().st_mtime_ns < result.stat().st_mtime_ns
