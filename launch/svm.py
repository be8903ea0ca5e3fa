"""Fits a support vector machine: python -m launch.svm --train=FILE --test=FILE --kernel=rbf.

The files are in libsvm's text format, packed or not. Or the machine is fitted to what the network
of a trained run computes on the way: --features_of=WORKDIR --tap=NAME. Ctrl-C ends the fit at its
best point so far, of which all is still told and written.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path
from typing import Any

from absl import flags

from jaxml.config import user_path
from jaxml.errors import InputError
from launch import cache, cli

TRAIN = flags.DEFINE_string("train", "", "file to fit")
TEST = flags.DEFINE_string("test", "", "file to predict")
MODEL_IN = flags.DEFINE_string("model_in", "", "model file that predicts --test, nothing is fitted")
FEATURES_OF = flags.DEFINE_string("features_of", "", "folder of a run, for --train and --test")
TAP = flags.DEFINE_string("tap", "features", "which intermediate result of its network")
CHECKPOINT = flags.DEFINE_string("checkpoint", "newest", "newest, best, or the number of a step")
CV = flags.DEFINE_integer("cv", 0, "folds of a cross-validation that comes first; 0 for none", 0)
MODEL_OUT = flags.DEFINE_string(
    "model_out", "", "file for the model, as liblinear or libsvm has it; ranges go to FILE.range"
)
PREDICTIONS_OUT = flags.DEFINE_string("predictions_out", "", "file for what --test is taken for")
RESULT = flags.DEFINE_string("result", "", "JSON file for the numbers")

flags.DEFINE_string("kernel", "linear", "linear, rbf, poly or sigmoid")
flags.DEFINE_float("C", 1.0, "price of an error")
flags.DEFINE_string("gamma", "scale", "of rbf, poly, sigmoid: scale, auto or a number")
flags.DEFINE_integer("degree", 3, "of poly")
flags.DEFINE_float("coef0", 0.0, "of poly and sigmoid")
flags.DEFINE_string(
    "loss",
    "",
    "squared_hinge, hinge, epsilon_insensitive or squared_epsilon_insensitive; by default the "
    "first for one-vs-rest and hinge for kernels",
)
flags.DEFINE_string("multiclass", "", "one_vs_rest, as linear has it, or one_vs_one, as kernels")
flags.DEFINE_float("epsilon", 0.1, "half the width of the tube of regression")
flags.DEFINE_string("penalty", "l2", "l2, or l1 for the linear squared hinge")
flags.DEFINE_string(
    "intercept", "", "penalized (liblinear's), free (libsvm's), none; by default as the library"
)
flags.DEFINE_float(
    "tolerance", None, "relative gap of linear machines (1e-4), violation of kernels (1e-3)"
)
flags.DEFINE_float("cache_size", 2000.0, "MiB for rows of the kernel")
flags.DEFINE_integer("max_iter", None, "steps or rounds at most; none for as many as it takes")
flags.DEFINE_string("scale", "none", "of features: none, min_max, standard or max_abs")


def main() -> None:
    """Fits and predicts by the flags."""
    cache.keep_compiled(cache.user_folder(os.environ), os.environ)
    from jaxml.svm.command import experiment
    from jaxml.svm.command.machine_settings import MachineSettings
    from jaxml.training.signals import (
        StopSignals,  # after the flags, for it takes a second to import
    )

    _check_sources()
    names = [field.name for field in dataclasses.fields(MachineSettings)]
    values: dict[str, Any] = {name: flags.FLAGS[name].value for name in names}
    settings = MachineSettings(**values)
    settings.check()
    files = [_path(flag) for flag in (MODEL_OUT, PREDICTIONS_OUT, RESULT)]
    outputs = experiment.Outputs(*files)
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
                settings,
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
    """Checks that just one of --train, --features_of and --model_in says what is done."""
    sources = (TRAIN, FEATURES_OF, MODEL_IN)
    given = [f"--{flag.name}" for flag in sources if flag.value]
    if len(given) != 1:
        what = " and ".join(given) if given else "it is missing"
        raise InputError(f"--train: {what}; give one of --train, --features_of, --model_in")
    if FEATURES_OF.value and TEST.value:
        raise InputError("--test: is the run's own test set where there is --features_of")
    if MODEL_IN.value and not TEST.value:
        raise InputError("--test: is missing, --model_in needs it")
    if MODEL_IN.value and (MODEL_OUT.value or CV.value):
        raise InputError("--model_in: nothing is fitted, so there is no --model_out or --cv")


def _tables() -> tuple[Any, Any]:
    """What is fitted, and what is predicted or None."""
    from jaxml.svm.command import tables

    if not FEATURES_OF.value:
        return tables.read_tables(user_path(TRAIN.value), _path(TEST))
    from jaxml.training.features import extract_features

    def of(split: str) -> tables.Table:
        name = f"{FEATURES_OF.value}, {split}, tap {TAP.value}"
        workdir = user_path(FEATURES_OF.value)
        try:
            found = extract_features(workdir, TAP.value, split=split, checkpoint=CHECKPOINT.value)
        except InputError as error:
            raise InputError(str(error).replace("--workdir=", "--features_of=")) from None
        return tables.Table(name, *found)

    return of("train"), of("test")


def _path(flag: Any) -> Path | None:
    return user_path(flag.value) if flag.value else None


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    cli.run(main)
