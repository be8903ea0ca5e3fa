"""Settings of the files that a run writes: its checkpoints, and its records for people."""

import dataclasses

from jaxml.config._node import Settings, setting


@dataclasses.dataclass
class CheckpointConfig(Settings):
    """Checkpoints of a run."""

    every_steps: int | None = setting(
        None,
        "Number of steps between checkpoints; None saves only after each evaluation.",
        low=1,
        resume="any",
    )
    every_minutes: float | None = setting(
        None,
        "Largest number of minutes between checkpoints, in addition to those of every_steps and "
        "after each evaluation; None sets no limit.",
        above=0,
        resume="any",
    )
    keep: int = setting(
        2, "Number of newest checkpoints kept, in addition to the best one.", low=1, resume="any"
    )
    on_failure: str = setting(
        "stop",
        "Action when a checkpoint or metrics cannot be written; the last checkpoint must be "
        "written in either case.",
        choices=("stop", "continue"),
        resume="any",
    )


@dataclasses.dataclass
class LogConfig(Settings):
    """Records of a run for people. They change no parameter, and a failure to write ends no run."""

    report: bool = setting(True, "Writes report.html at the end of the run.", resume="any")
    layers_every_epochs: int | None = setting(
        1,
        "Number of epochs between records of the norms of the gradient, the update and the weights "
        "of each layer, in the last step of an epoch; None records none.",
        low=1,
        resume="any",
    )
    tensorboard: bool = setting(
        False,
        "Writes event files for TensorBoard to the folder events of the workdir; needs the package "
        "tensorboardX.",
        resume="any",
    )
    tracker: str | None = setting(
        None,
        "Package with the interface of wandb that receives the metrics.",
        choices=("wandb", "trackio"),
        resume="any",
    )
    project: str = setting("jaxml", "Name of the project for the tracker.", resume="any")
    every_steps: int = setting(
        10,
        "Number of steps between the metrics of training batches that TensorBoard and the tracker "
        "receive.",
        low=1,
        resume="any",
    )
    histograms_every_epochs: int | None = setting(
        5,
        "Number of epochs between histograms of the parameters for TensorBoard; None writes none.",
        low=1,
        resume="any",
    )
    images: int = setting(
        16,
        "Number of augmented training images for TensorBoard, from the first step of the run.",
        low=0,
        resume="any",
    )
    stall_seconds: float | None = setting(
        300.0,
        "Seconds without the end of a step after which a line reports that the run waits for the "
        "input or the device; None reports no stall.",
        above=0,
        resume="any",
    )
