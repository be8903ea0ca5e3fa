"""Trains the same recipe with several seeds."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxml.config import Config
from jaxml.errors import DivergedError, InputError
from jaxml.reporting.progress import Display, headline
from jaxml.training import hosts
from jaxml.training.experiment import create_experiment
from jaxml.training.loop import train_and_evaluate
from jaxml.training.signals import Interrupted, StopSignals
from jaxml.training.workdir import CONFIG, SEED, check_workdir, open_workdir

LARGEST_SEED = 2**32 - 1


def train_seeds(
    config: Config, workdir: Path, progress: Callable[[int], None] = lambda _: None
) -> dict[str, Any]:
    """Trains `config.num_seeds` models, whose seeds are `config.seed` and the following ones.

    The model of seed K is that of a separate run with `config.seed=K` in `workdir/seed_K`. The
    seeds run one after the other, since convolution gradients under `vmap` are slower than that on
    a CPU. A run that was stopped resumes with the seed that it was training.

    Args:
      config: a checked config with `num_seeds` of at least 2.
      workdir: folder of the runs: new, empty, or of the same config.
      progress: see `train_and_evaluate`.

    Returns:
      The content of `result.json`: for each metric its mean, its standard deviation, and the ends
      of the 95 % confidence interval of the mean by Student's t; the seeds, and the digests of
      their parameters.

    Raises:
      InputError: a setting, file or folder is wrong.
      DivergedError: the loss of a seed is not finite.
      Interrupted: a signal stopped the run.
    """
    seeds = range(config.seed, config.seed + config.num_seeds)
    if seeds[-1] > LARGEST_SEED:
        raise InputError(
            f"config.seed + config.num_seeds must be <= {LARGEST_SEED + 1}, got {seeds[-1] + 1}"
        )
    configs = {seed: dataclasses.replace(config, seed=seed, num_seeds=1) for seed in seeds}
    check_workdir(workdir, config)
    if not (workdir / CONFIG).exists():
        create_experiment(configs[config.seed])  # reports errors before anything is written
    display = Display(config.num_seeds, 1, quiet=not hosts.is_first())
    with open_workdir(workdir, config, writes=hosts.is_first()) as files:
        results = {}
        for seed, one in configs.items():
            display.say(f"seed {seed}, in {workdir / f'{SEED}{seed}'}")
            folder = workdir / f"{SEED}{seed}"
            results[seed] = _train(one, folder, progress, last=seed == seeds[-1])
        result = summarize(results)
        files.write_result(result)
    display.say(conclusion(result))
    return result


def _train(
    config: Config, workdir: Path, progress: Callable[[int], None], *, last: bool
) -> dict[str, Any]:
    """Trains one seed; heeds a signal that came in its last step."""
    StopSignals.unheeded = None
    try:
        result = train_and_evaluate(config, workdir, progress=progress)
    except DivergedError as error:
        error.add_note(f"this was seed {config.seed}")
        raise
    if StopSignals.unheeded and not last:
        raise Interrupted(StopSignals.unheeded, result["steps"])
    return result


def summarize(results: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the statistics of the final metrics of several seeds.

    Args:
      results: the content of `result.json` of each seed.

    Example:
      >>> one = {"test_accuracy": 0.5, "test_count": 8, "steps": 9, "params_sha256": "e3"}
      >>> result = summarize({0: one, 1: {**one, "test_accuracy": 0.7}})
      >>> {name: round(value, 3) for name, value in result["test_accuracy"].items()}
      {'mean': 0.6, 'standard_deviation': 0.141, 'low': -0.671, 'high': 1.871}
    """
    from jaxml.reporting.comparison import estimate  # imports SciPy

    first, *_ = results.values()
    names = [
        name
        for name in first
        if name.startswith(("test_", "validation_")) and not name.endswith("_count")
    ]
    statistics = {}
    for name in names:
        mean, deviation, low, high = estimate([result[name] for result in results.values()])
        statistics[name] = {
            "mean": mean, "standard_deviation": deviation, "low": low, "high": high
        }  # fmt: skip
    return {
        **statistics,
        "seeds": list(results),
        "params_sha256": [result["params_sha256"] for result in results.values()],
    }


def conclusion(result: Mapping[str, Any]) -> str:
    """Formats the last line of a run of several seeds."""
    split = next(iter(result)).partition("_")[0]
    name = headline({key.removeprefix(f"{split}_"): 0.0 for key in result})
    found = result[f"{split}_{name}"]
    return (
        f"{split} {name} of {len(result['seeds'])} seeds: mean {found['mean']:.4f}, standard "
        f"deviation {found['standard_deviation']:.4f}, 95% interval {found['low']:.4f} to "
        f"{found['high']:.4f}"
    )
