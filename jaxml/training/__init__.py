"""Training, evaluation and export of a network; `jaxml.training.loop` is the file to read first.

Names are imported on first use, so that importing `jaxml.training.signals` does not import JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxml.training.assessment import Subject, assess, load_subject
    from jaxml.training.attribution import (
        explain,
        grad_cam,
        input_gradient,
        integrated_gradients,
    )
    from jaxml.training.checkpoint import Checkpoints
    from jaxml.training.compilation import (
        StepFunctions,
        TrainCall,
        compile_steps,
        jit_steps,
        train_call,
        train_calls,
    )
    from jaxml.training.evaluation import evaluate
    from jaxml.training.experiment import Experiment, create_experiment
    from jaxml.training.export import export_weights
    from jaxml.training.features import extract_features
    from jaxml.training.initialize import initial_state, read_weights
    from jaxml.training.inspect import inspect_batch
    from jaxml.training.loop import train_and_evaluate
    from jaxml.training.objective import Objective, create_objective
    from jaxml.training.prediction import Prediction, predict
    from jaxml.training.probing import probe
    from jaxml.training.restore import evaluate_checkpoint, restore_checkpoint
    from jaxml.training.signals import Interrupted, StopSignals
    from jaxml.training.stablehlo import export_stablehlo
    from jaxml.training.steps import Learner, TrainState, eval_step, train_step
    from jaxml.training.trained import TrainedNetwork, load_network
    from jaxml.training.verification import compare_runs, verify_run

__all__ = [
    "Checkpoints",
    "Experiment",
    "Interrupted",
    "Learner",
    "Objective",
    "Prediction",
    "StepFunctions",
    "StopSignals",
    "Subject",
    "TrainCall",
    "TrainState",
    "TrainedNetwork",
    "assess",
    "compare_runs",
    "compile_steps",
    "create_experiment",
    "create_objective",
    "eval_step",
    "evaluate",
    "evaluate_checkpoint",
    "explain",
    "export_stablehlo",
    "export_weights",
    "extract_features",
    "grad_cam",
    "initial_state",
    "input_gradient",
    "inspect_batch",
    "integrated_gradients",
    "jit_steps",
    "load_network",
    "load_subject",
    "predict",
    "probe",
    "read_weights",
    "restore_checkpoint",
    "train_and_evaluate",
    "train_call",
    "train_calls",
    "train_step",
    "verify_run",
]

_MODULES = {
    "assessment": ("Subject", "assess", "load_subject"),
    "attribution": ("explain", "grad_cam", "input_gradient", "integrated_gradients"),
    "checkpoint": ("Checkpoints",),
    "compilation": (
        "StepFunctions",
        "TrainCall",
        "compile_steps",
        "jit_steps",
        "train_call",
        "train_calls",
    ),
    "evaluation": ("evaluate",),
    "experiment": ("Experiment", "create_experiment"),
    "export": ("export_weights",),
    "features": ("extract_features",),
    "initialize": ("initial_state", "read_weights"),
    "inspect": ("inspect_batch",),
    "loop": ("train_and_evaluate",),
    "objective": ("Objective", "create_objective"),
    "prediction": ("Prediction", "predict"),
    "probing": ("probe",),
    "restore": ("evaluate_checkpoint", "restore_checkpoint"),
    "signals": ("Interrupted", "StopSignals"),
    "stablehlo": ("export_stablehlo",),
    "steps": ("Learner", "TrainState", "eval_step", "train_step"),
    "trained": ("TrainedNetwork", "load_network"),
    "verification": ("compare_runs", "verify_run"),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
