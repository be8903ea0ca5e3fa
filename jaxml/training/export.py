"""Exports what a run has saved: the weights as safetensors, and a model card beside them."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np

from jaxml import config as settings
from jaxml import weights
from jaxml.config import Config
from jaxml.errors import InputError
from jaxml.io import atomic
from jaxml.models import summarize
from jaxml.normalize import Normalizer
from jaxml.training.evaluate import restore
from jaxml.training.workdir import Workdir


def export(workdir: Path, out: Path, *, checkpoint: str = "best", names: str = "native") -> str:
    """Writes the weights of a checkpoint, and a model card with the settings of its run.

    The file's header holds the settings, too.

    Args:
      workdir: folder of a run; nothing in it is changed.
      out: safetensors file to write; the card gets its name with `.md` after it.
      checkpoint: "newest", "best", or the number of a step.
      names: "native", or "library" for those of torchvision, timm or Keras.

    Returns:
      The card.

    Raises:
      InputError: there is no such run or checkpoint, no library has the network, or a file cannot
        be written.
    """
    weights.check_names(names, Workdir.read_config(workdir).model.name)
    program, step, state = restore(workdir, checkpoint)
    config, model = program.config, program.model
    metrics = program.evaluate(state)
    metadata = {
        "network": config.model.name,
        "step": str(step),
        "names": names,
        "metrics": json.dumps(metrics),
        "config": settings.to_json(config),
    }
    variables = jax.device_get(program.evaluated(state))
    shape = program.input_shape
    weights.save(out, variables, config.model.name, model, shape, metadata, names=names)
    text = card(
        config,
        step=step,
        batch_size=program.batch_size,
        normalizer=state.normalizer,
        split=program.eval_split,
        metrics=metrics,
        num_parameters=summarize(model, shape).parameters,
        input_shape=shape,
        file=out.name,
    )
    path = out.with_name(f"{out.name}.md")
    try:
        atomic.write(path, text.encode())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    return text


def card(
    config: Config,
    *,
    step: int,
    batch_size: int,
    normalizer: Normalizer,
    split: str,
    metrics: dict[str, int | float],
    num_parameters: int,
    input_shape: tuple[int, ...],
    file: str,
) -> str:
    """The model card, in Markdown.

    Args:
      config: of the run.
      step: of the checkpoint.
      batch_size: examples a step.
      normalizer: what the inputs went through.
      split: what was evaluated.
      metrics: of the evaluation.
      num_parameters: of the network.
      input_shape: of one example as the network sees it, normalised.
      file: name of the file of weights.
    """
    shown = "\n".join(f"| {split} {name} | {value:.6g} |" for name, value in metrics.items())
    size = "x".join(map(str, input_shape))
    fitted = {
        field.name: np.asarray(getattr(normalizer, field.name))
        for field in dataclasses.fields(normalizer)
    }
    numbers = [f"{name} {a.ravel().tolist()}" for name, a in fitted.items() if a.size <= 16]
    normalization = ", ".join([config.data.normalization, *numbers])
    return f"""# {config.model.name} on {config.data.name}

| what | value |
| --- | --- |
| network | {config.model.name}, {num_parameters:,} parameters |
| input | {size}, normalised by {normalization} |
| training | {step} steps of {batch_size} examples, seed {config.seed} |
{shown}

It is a start for another run with `--config.weights.file={file}`, and with
`--config.weights.new_head=true` for other classes. The settings of the run that made it:

```json
{settings.to_json(config)}```
"""
