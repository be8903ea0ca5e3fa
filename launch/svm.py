"""Fits a support vector machine: python -m launch.svm --train=FILE --test=FILE --kernel=rbf.

Files are in libsvm's text format and may be compressed. With --features_of=WORKDIR --tap=NAME, the
data are activations of the network of a training run. Ctrl-C ends the fit at its best point so far,
which is still reported and written.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path
from typing import Any

from absl import flags

from jaxml import _cpu
from jaxml.config import user_path
from jaxml.errors import InputError
from launch import cache, cli
from launch.support_vectors.config import SVMConfig

TRAIN = flags.DEFINE_string("train", "", "training set")
TEST = flags.DEFINE_string("test", "", "test set")
MODEL_IN = flags.DEFINE_string("model_in", "", "model file to predict --test with, without a fit")
FEATURES_OF = flags.DEFINE_string("features_of", "", "folder of a training run to take data from")
TAP = flags.DEFINE_string("tap", "features", "name of the activations for --features_of")
CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    "newest",
    cli.CHECKPOINT_HELP,
)
CV = flags.DEFINE_integer("cv", 0, "folds of a cross-validation before the fit; 0 for none", 0)
MODEL_OUT = flags.DEFINE_string(
    "model_out", "", "output file for the liblinear or libsvm model; ranges go to FILE.range"
)
PREDICTIONS_OUT = flags.DEFINE_string("predictions_out", "", "output file for the predictions")
RESULT = flags.DEFINE_string("result", "", "output file for the metrics as JSON")
REPORT = flags.DEFINE_string("report", "", "output file for the report as HTML")

_DEFINE: dict[Any, Any] = {
    str: flags.DEFINE_string,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    int | None: flags.DEFINE_integer,
    float | None: flags.DEFINE_float,
}
CONFIG = {
    field.name: _DEFINE[field.type](field.name, field.default, field.metadata["help"])
    for field in dataclasses.fields(SVMConfig)
}


def main() -> None:
    """Fits and predicts as the flags say."""
    cache.keep_compiled(cache.user_folder(os.environ), os.environ)
    _cpu.tune(os.environ)
    # These imports take seconds, so they come after the flags are parsed.
    from jaxml.training.signals import StopSignals
    from launch.support_vectors import experiment

    _check_sources()
    config = SVMConfig(**{name: flag.value for name, flag in CONFIG.items()})
    config.check()
    outputs = experiment.Outputs(*map(_path, (MODEL_OUT, PREDICTIONS_OUT, RESULT, REPORT)))
    outputs.check(tested=bool(TEST.value or FEATURES_OF.value))
    try:
        if MODEL_IN.value:
            experiment.run_model(
                user_path(MODEL_IN.value), user_path(TEST.value), outputs=outputs, say=_say
            )
            return
        train, test = _tables()
        with StopSignals("stopping at the best point so far") as stop:
            experiment.run(
                config,
                train,
                test,
                cv=CV.value,
                outputs=outputs,
                say=_say,
                stopped=lambda: stop.received is not None,
            )
    except KeyboardInterrupt:  # in the cross-validation
        print("stopped, nothing is written", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    if stop.received:
        print(f"stopped by {stop.received.name}, the best point is kept", file=sys.stderr)
        sys.exit(128 + stop.received)


def _check_sources() -> None:
    """Checks that exactly one of --train, --features_of and --model_in is given."""
    given = [f"--{flag.name}" for flag in (TRAIN, FEATURES_OF, MODEL_IN) if flag.value]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise InputError(f"one of --train, --features_of, --model_in must be given, got {found}")
    if FEATURES_OF.value and TEST.value:
        raise InputError("--test must not be given with --features_of, which has its own test set")
    if MODEL_IN.value and not TEST.value:
        raise InputError("--test must be given with --model_in")
    if MODEL_IN.value and (MODEL_OUT.value or CV.value or REPORT.value):
        raise InputError("--model_out, --cv and --report must not be given with --model_in")


def _tables() -> tuple[Any, Any]:
    """Reads the training set, and the test set or None."""
    from launch.support_vectors import tables

    if not FEATURES_OF.value:
        return tables.read_tables(user_path(TRAIN.value), _path(TEST))
    from jaxml.training.features import extract_features

    def read(split: str) -> tables.Table:
        name = f"{FEATURES_OF.value}, {split}, tap {TAP.value}"
        workdir = user_path(FEATURES_OF.value)
        try:
            found = extract_features(workdir, TAP.value, split=split, checkpoint=CHECKPOINT.value)
        except InputError as error:
            raise InputError(str(error).replace("--workdir=", "--features_of=")) from None
        return tables.Table(name, *found)

    return read("train"), read("test")


def _path(flag: Any) -> Path | None:
    return user_path(flag.value) if flag.value else None


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    cli.run(main)
