"""The report of a run: one HTML file with its result, its curves and how to repeat it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from jaxml.config import Config
from jaxml.io import atomic
from jaxml.reporting import charts, page, predictions
from jaxml.reporting.findings import Findings
from jaxml.reporting.progress import headline
from jaxml.reporting.run_files import REPORT, RunFiles, overrides, read_run, setting_values

PHASES = {
    "prepare": "prepare data and model",
    "compile": "compile",
    "input": "wait for input",
    "steps": "training steps",
    "evaluation": "evaluation",
    "checkpoints": "checkpoints",
}


def write_report(folder: Path, findings: Findings | None) -> Path:
    """Writes `report.html` into the folder of a finished run.

    Args:
      folder: folder of the run; its config, metrics and result are read.
      findings: what the network predicts; None leaves these sections out.

    Returns:
      The file.

    Raises:
      InputError: the folder holds no run.
      OSError: the file cannot be written.
    """
    run = read_run(folder)
    title = f"{run.config.model.name} on {run.config.data.name}"
    parts = [
        page.heading(title, 1),
        page.paragraph(sentence(run)),
        page.tiles(_main_numbers(run, findings)),
        *_curves(run),
        *(predictions.sections(findings, run.split) if findings else []),
        *_layers(run, findings),
        *_time(run, findings),
        *_repetition(run),
    ]
    atomic.write(folder / REPORT, page.page(title, parts).encode())
    return folder / REPORT


def sentence(run: RunFiles) -> str:
    """Says in plain words what was trained, for how long, and what came out."""
    result, config = run.result, run.config
    optim = config.optim
    said = (
        f"{config.model.name} with {result.get('num_params', 0):,} parameters was trained on "
        f"{config.data.name} for {result.get('epochs'):,} epochs ({result.get('steps'):,} steps"
        f"{f' of {config.batch_size} examples' if config.batch_size else ''}) by {optim.name} with "
        f"{config.loss.name.replace('_', ' ')}, seed {config.seed}, on {result.get('device')}."
    )
    metrics = _metrics(run)
    name = headline(metrics)
    if name != "accuracy":
        return f"{said} Its {name.upper()} on {metrics['count']:,} {run.split} examples is " + (
            f"{metrics[name]:.4g}."
        )
    low, high = wilson(metrics[name], int(metrics["count"]))
    return (
        f"{said} It classifies {metrics[name]:.2%} of {metrics['count']:,} {run.split} examples "
        f"correctly (95 % confidence interval {low:.2%} to {high:.2%})."
    )


def wilson(fraction: float, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Returns the Wilson confidence interval of a fraction of independent examples.

    >>> [round(bound, 3) for bound in wilson(0.5, 100)]
    [0.404, 0.596]
    """
    successes = round(fraction * count)
    interval = stats.binomtest(successes, count).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def _metrics(run: RunFiles) -> dict[str, Any]:
    """Returns the final metrics of the evaluation set."""
    prefix = f"{run.split}_"
    return {k.removeprefix(prefix): v for k, v in run.result.items() if k.startswith(prefix)}


def _main_numbers(run: RunFiles, findings: Findings | None) -> dict[str, str]:
    shown, metrics = {}, _metrics(run)
    for name, value in {headline(metrics): metrics[headline(metrics)], **metrics}.items():
        if name == "count" or (name == "top5_accuracy" and findings and findings.num_classes <= 5):
            continue
        is_fraction = name.endswith("accuracy")
        shown[f"{run.split} {name.replace('_', ' ')}"] = (
            f"{value:.2%}" if is_fraction else page.number(value)
        )
    seconds = run.result.get("train_seconds", math.nan)
    shown["training time"] = duration(seconds)
    shown["examples per second"] = page.number(round(run.result.get("images_per_second", 0)))
    if utilization := _utilization(run, findings):
        shown["of the peak FLOP/s of the device"] = utilization
    return shown


def duration(seconds: float) -> str:
    """Formats a time.

    >>> duration(0.25), duration(75.0), duration(7380.0)
    ('0.25 s', '1 min 15 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours = minutes // 60
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min {rest} s"


def _curves(run: RunFiles) -> list[str]:
    name = headline(run.lines[0])
    pairs = {"loss": "mean loss per epoch", name: f"{name} per epoch"}
    figures = [
        page.figure(
            metric.capitalize() if metric != "rmse" else "RMSE",
            f"{caption}; training metrics are collected during the epoch, in training mode",
            charts.lines(
                {"training": run.curve("train", metric), run.split: run.curve(run.split, metric)},
                x="epoch",
                y=metric,
                percent=metric == "accuracy",
            ),
        )
        for metric, caption in pairs.items()
    ]
    rate = charts.lines({"rate": run.curve("train", "learning_rate")}, x="epoch", y="learning rate")
    figures.append(page.figure("Learning rate", "in the last step of each epoch", rate))
    return [page.heading("Training"), page.grid(figures)]


def _layers(run: RunFiles, findings: Findings | None) -> list[str]:
    """Shows the norms of the layers over the epochs, and the last ones as a table."""
    found = [line for line in run.of_split("train") if line.get("layers")]
    if not found:
        return []
    names = list(found[-1]["layers"])
    if findings and set(names) <= set(findings.layers):
        names.sort(key=list(findings.layers).index)
    values = np.array([[line["layers"][name] for name in names] for line in found], np.float64)
    gradient, update, weight = np.moveaxis(values, 2, 0)
    ratio = update / np.where(weight > 0, weight, np.nan)
    epochs = [line["epoch"] for line in found]
    shown = {
        "Gradient norm": (gradient, "extreme values show where training is unstable"),
        "Weight norm": (weight, "Euclidean norm"),
        "Update-to-weight ratio": (ratio, "a healthy ratio is often near 0.001"),
    }
    figures = page.grid(
        page.figure(
            title,
            f"kernels in the last step of each epoch; {caption}",
            _layer_chart(title, matrix, names, epochs),
        )
        for title, (matrix, caption) in shown.items()
    )
    rows = [(name, gradient[-1, i], weight[-1, i], ratio[-1, i]) for i, name in enumerate(names)]
    columns = ("layer", "gradient norm", "weight norm", "update / weight")
    values_of_last = page.details(
        f"Values of the last step of epoch {epochs[-1]}", page.table(columns, rows)
    )
    return [page.heading("Layers"), figures, values_of_last]


def _layer_chart(title: str, matrix: np.ndarray, names: list[str], epochs: list[int]) -> str:
    """Draws `[epochs, layers]` as lines for a few layers, or else as colours."""
    if len(names) > 4:
        return charts.heatmap(matrix.T, names, epochs, x="epoch")
    positive = np.where(matrix > 0, matrix, np.nan)
    series = {name: (epochs, positive[:, i].tolist()) for i, name in enumerate(names)}
    return charts.lines(series, x="epoch", y=title.lower(), log="y")


def _time(run: RunFiles, findings: Findings | None) -> list[str]:
    phases = run.result.get("phases", {})
    named = {PHASES[name]: seconds for name, seconds in phases.items() if name in PHASES}
    parts = [page.heading("Time")]
    if named:
        caption = "seconds; preparation and compilation are those of the last start of the run"
        drawn = charts.bars(named, x="seconds")
        parts.append(page.grid([page.figure("Where the time goes", caption, drawn)]))
    speed = run.result.get("images_per_second", 0)
    parts.append(page.paragraph(f"Training processes {speed:,.0f} examples per second."))
    if findings and (utilization := _utilization(run, findings)):
        parts.append(
            page.paragraph(
                f"A training step takes about three times the {findings.multiply_adds:,} "
                f"multiply-adds of the network per example, so training reaches {utilization} of "
                f"the {findings.peak_flops / 1e9:,.0f} billion operations per second of a large "
                "float32 matrix product, measured on this device after training."
            )
        )
    return parts


def _utilization(run: RunFiles, findings: Findings | None) -> str:
    if not findings or not findings.peak_flops or not findings.multiply_adds:
        return ""
    flops = 6.0 * findings.multiply_adds * run.result.get("images_per_second", 0)
    return f"{100 * flops / findings.peak_flops:.2g} %"


def _repetition(run: RunFiles) -> list[str]:
    """Says how to repeat the run: commands, config, code, versions, hardware, resumptions."""
    segments = run.result.get("segments", [])
    commands = [segment["command"] for segment in segments if "command" in segment]
    parts = [page.heading("How to repeat it")]
    if commands:
        parts += [page.paragraph("Command:"), page.preformatted(commands[0])]
        if changed := overrides(commands):
            text = f"Settings that the command line changed: {', '.join(changed)}"
            parts.append(page.paragraph(text))
        elif "--config=" in commands[0]:
            parts.append(page.paragraph("The command line changed no setting of the recipe."))
    parts += _config(run.config)
    if segments:
        parts += _environment(segments)
    if damaged := run.result.get("damaged_images"):
        listed = page.bullets(damaged[:200])
        parts.append(page.details(f"{len(damaged)} damaged images were replaced", listed))
    return parts


def _config(config: Config) -> list[str]:
    here, default = (setting_values(value) for value in (config, Config()))
    rows = [(name, str(value), str(default[name])) for name, value in here.items()]
    different = [row for row in rows if row[1] != row[2]]
    columns = ("setting", "value", "default")
    return [
        page.heading("Config", 3),
        page.paragraph("Settings that differ from the defaults of jaxml:", "note"),
        page.table(columns, different, text=3),
        page.details(f"All {len(rows)} settings", page.table(columns, rows, text=3)),
    ]


def _environment(segments: list[dict[str, Any]]) -> list[str]:
    resumed = [
        f"from step {segment['step']:,}, {segment.get('started', 'time unknown')}, on "
        f"{segment['device']} with jax {segment['jax']}, for {segment['num_epochs']} epochs"
        for segment in segments[1:]
    ]
    times = "once" if len(resumed) == 1 else f"{len(resumed)} times"
    text = f"The run was resumed {times}:" if resumed else "The run was not resumed."
    return [
        page.heading("Environment", 3),
        environment_table(segments[-1]),
        page.paragraph(text),
        page.bullets(resumed),
    ]


def environment_table(found: Mapping[str, Any]) -> str:
    """Returns the hardware, the code and the versions of an `environment` as a table."""
    state = {True: ", without changes", False: ", with uncommitted changes", None: ""}
    commit = found.get("commit")
    code = f"commit {commit}{state[found.get('clean')]}" if commit else "not a git checkout"
    rows = {
        "devices": found.get("device"),
        "host": found.get("hardware"),
        "code": code,
        "started": found.get("started"),
        **found.get("versions", {}),
    }
    return page.table(("what", "value"), [row for row in rows.items() if row[1]], text=2)
