"""Exports the network of a run as a StableHLO artifact that JAX alone can run."""

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxml.config import to_json
from jaxml.errors import InputError
from jaxml.io import atomic
from jaxml.training.checkpoint import Checkpoints
from jaxml.training.trained import TrainedNetwork, load_network
from jaxml.training.workdir import CHECKPOINTS, read_config
from jaxml.types import Array

ARTIFACT, NAMES, LOADER, README = "network.stablehlo", "classes.json", "load.py", "README.md"
PLATFORMS = ("cpu", "cuda", "tpu")
# Largest difference of outputs, relative to the largest one, by the dtype of the computation.
TOLERANCE = {"float32": 1e-5, "bfloat16": 2e-2}
LOADER_TEXT = f'''"""Loads the network of this folder; needs jax and flatbuffers alone."""
import json
from pathlib import Path

import jax
from jax import export

folder = Path(__file__).parent
class_names = json.loads((folder / "{NAMES}").read_text(encoding="utf-8"))
exported = export.deserialize(bytearray((folder / "{ARTIFACT}").read_bytes()))
predict = jax.jit(exported.call)
'''


def export_stablehlo(workdir: Path | str, out: Path | str, *, checkpoint: str = "newest") -> str:
    """Writes a folder with the network of a checkpoint, its preprocessing and a loader.

    The artifact is a function from raw inputs, such as uint8 images, to probabilities, for batches
    of any size on a CPU, a GPU of NVIDIA and a TPU. It is read back, and its outputs are compared
    with those of the network. It calls no oneDNN, as another version of JAX may load it.

    Args:
      workdir: folder of the run; nothing in it is changed.
      out: folder to write; created if it does not exist.
      checkpoint: see `load_network`.

    Returns:
      The content of the `README.md` in the folder.

    Raises:
      InputError: there is no such run or checkpoint, a file cannot be written, or the outputs
        differ.
    """
    workdir, out = Path(workdir), Path(out)
    network = load_network(workdir, checkpoint)
    artifact = serialize(network)
    config = read_config(workdir)
    check_artifact(network, artifact, tolerance=TOLERANCE[config.model.dtype])
    metrics = Checkpoints(workdir / CHECKPOINTS).header(network.step).metrics
    if "," in checkpoint:  # those of the last one are not those of the mean
        metrics = None
    readme = describe(network, metrics or {}, to_json(config))
    names = json.dumps(network.class_names, indent=2, ensure_ascii=False) + "\n"
    files = {
        ARTIFACT: artifact,
        NAMES: names.encode(),
        LOADER: LOADER_TEXT.encode(),
        README: readme.encode(),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            atomic.write(out / name, content)
    except OSError as error:
        raise InputError(f"{error.filename or out}: cannot be written ({error.strerror})") from None
    return readme


def serialize(network: TrainedNetwork) -> bytes:
    """Returns the function `network.probabilities` of batches of any size as an artifact.

    Raises:
      InputError: the package flatbuffers is not installed.
    """
    constants = jax.device_get(network)  # without the devices on which they are
    (size,) = jax.export.symbolic_shape("batch")
    shape = (size, *network.example_shape)

    def probabilities(inputs: Array) -> Array:
        return jax.tree.map(jnp.asarray, constants).probabilities(inputs)

    export = jax.export.export(jax.jit(probabilities), platforms=PLATFORMS)
    exported = export(jax.ShapeDtypeStruct(shape, network.example_dtype))
    try:
        return bytes(exported.serialize())
    except ImportError:
        raise InputError(
            "--format=stablehlo needs the package flatbuffers, which is not installed: "
            "pip install flatbuffers, or pip install 'jaxml[export]'"
        ) from None


def check_artifact(network: TrainedNetwork, artifact: bytes, *, tolerance: float) -> None:
    """Compares an artifact with its network on random batches of 1 and 3 inputs.

    Raises:
      InputError: the outputs differ by more than the tolerance times the largest one.
    """
    loaded = jax.jit(jax.export.deserialize(bytearray(artifact)).call)
    generator = np.random.default_rng(0)
    shape = (3, *network.example_shape)
    inputs: Any = generator.standard_normal(shape, np.float32)
    if network.example_dtype == "uint8":
        inputs = generator.integers(0, 256, shape, np.uint8)
    constants = jax.device_get(network)
    for size in (1, 3):
        expected = np.asarray(jax.jit(TrainedNetwork.probabilities)(constants, inputs[:size]))
        difference = np.abs(np.asarray(loaded(inputs[:size])) - expected).max()
        if not difference <= tolerance * max(1.0, np.abs(expected).max()):
            raise InputError(
                f"{ARTIFACT}: its outputs must be those of the network up to {tolerance}, got a "
                f"difference of {difference} for a batch of {size}"
            )


def describe(network: TrainedNetwork, metrics: Mapping[str, int | float], config: str) -> str:
    """Returns the description of an artifact in Markdown.

    Args:
      network: the network.
      metrics: metrics of its checkpoint; empty if it was not evaluated.
      config: the config of its run as JSON.
    """
    rows = {**network.rows(), **{name: f"{value:.6g}" for name, value in metrics.items()}}
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    shape = ", ".join(map(str, ("batch", *network.example_shape)))
    image = len(network.example_shape) == 3
    resized = (
        " Resize and crop images to this size before; all else is part of it." if image else ""
    )
    outputs = "probabilities `[batch, classes]`" if network.class_names else "values `[batch, 1]`"
    today = datetime.datetime.now(datetime.UTC).date()
    return f"""# {network.name}

| property | value |
| --- | --- |
{table}

`{ARTIFACT}` is a function from {network.example_dtype} inputs `[{shape}]` to {outputs}, for batches
of any size on {", ".join(PLATFORMS)}.{resized} It needs `pip install jax flatbuffers`, not jaxml:

```python
from load import class_names, predict  # in this folder

probabilities = predict(images)
```

**Lifetime.** It was exported by JAX {jax.__version__} on {today}. JAX guarantees that an artifact
can be loaded by every release of the next 6 months, and by releases that are up to 3 weeks older
than the exporting one, but not beyond. Later versions may still load it; to be sure, export again
from the checkpoint, which has no such limit.

The config of the run:

```json
{config}```
"""
