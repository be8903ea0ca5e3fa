"""Exports the weights of a run as a safetensors file with a model card."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np

from jaxml.config import to_json
from jaxml.errors import InputError
from jaxml.io import atomic
from jaxml.models import summarize
from jaxml.training.compilation import jit_steps
from jaxml.training.evaluation import evaluate, final_variables
from jaxml.training.restore import Restored, restore_checkpoint
from jaxml.training.workdir import read_config
from jaxml.weights import check_names, save


def export_weights(
    workdir: Path | str, out: Path | str, *, checkpoint: str = "newest", names: str = "native"
) -> str:
    """Writes the weights of a checkpoint, and a model card with the config of its run.

    The header of the file of weights holds the config too.

    Args:
      workdir: folder of the run; nothing in it is changed.
      out: safetensors file to write; the card is written next to it, with `.md` appended.
      checkpoint: "newest", "best", or the number of a step.
      names: names of the tensors: "native", or "library" for those of torchvision, timm or Keras.

    Returns:
      The card.

    Raises:
      InputError: there is no such run or checkpoint, no library has the network, or a file cannot
        be written.
    """
    workdir, out = Path(workdir), Path(out)
    check_names(names, read_config(workdir).model.name)
    restored = restore_checkpoint(workdir, checkpoint)
    experiment, step, state = restored
    config, steps = experiment.config, jit_steps(experiment)
    metrics = evaluate(experiment, steps, state)
    metadata = {
        "network": config.model.name,
        "step": str(step),
        "names": names,
        "metrics": json.dumps(metrics),
        "config": to_json(config),
    }
    variables = jax.device_get(final_variables(experiment, steps, state))
    model, shape = experiment.learner.model, experiment.input_shape
    save(out, variables, config.model.name, model, shape, metadata, names=names)
    card = model_card(restored, metrics, file=out.name)
    path = out.with_name(f"{out.name}.md")
    try:
        atomic.write(path, card.encode())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    return card


def model_card(restored: Restored, metrics: dict[str, int | float], *, file: str) -> str:
    """Returns a model card in Markdown.

    Args:
      restored: the checkpoint.
      metrics: its metrics on the evaluation set.
      file: name of the file of weights.
    """
    experiment, step, state = restored
    config, shape = experiment.config, experiment.input_shape
    num_parameters = summarize(experiment.learner.model, shape).parameters
    rows = "\n".join(
        f"| {experiment.eval_split} {name} | {value:.6g} |" for name, value in metrics.items()
    )
    statistics = {
        field.name: np.asarray(getattr(state.normalizer, field.name))
        for field in dataclasses.fields(state.normalizer)
        if field.metadata.get("pytree_node", True)
    }
    numbers = [f"{name} {a.ravel().tolist()}" for name, a in statistics.items() if a.size <= 16]
    normalization = ", ".join([config.data.normalization, *numbers])
    return f"""# {config.model.name} on {config.data.name}

| property | value |
| --- | --- |
| network | {config.model.name}, {num_parameters:,} parameters |
| input | {"x".join(map(str, shape))}, normalized by {normalization} |
| training | {step} steps of {experiment.sizes.batch_size} examples, seed {config.seed} |
{rows}

Start another run from these weights with `--config.weights.file={file}`, and
`--config.weights.new_head=true` for other classes. The config of the original run:

```json
{to_json(config)}```
"""
