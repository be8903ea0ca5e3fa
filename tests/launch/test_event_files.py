"""The event files of a run that was killed, read by TensorBoard itself."""

import importlib
import json
import signal

import numpy as np
import pytest

from tests.launch.processes import finish, stop_at

pytestmark = pytest.mark.slow

RUN = (
    "--config.model.name=linear",
    "--config.data.augment=",
    "--config.batch_size=478",
    "--config.num_epochs=4",
    "--config.optim.warmup_epochs=1",
    "--config.eval_every_epochs=1",
    "--config.checkpoint.every_steps=2",
    "--config.log.every_steps=1",
    "--config.log.tensorboard=true",
)
STEPS = 12
SAVE = ("jaxml.training.checkpoint", "CheckpointWriter", "save")  # follows a flush of the events
MOMENTS = {
    "before the first checkpoint": (*SAVE, 1),
    "with later events in the file": (*SAVE, 2),
    "between two checkpoints": ("jaxml.training.loop", "", "train_call", 3),
    "in an evaluation": ("jaxml.training.loop", "", "evaluate", 2),
    "after the last step": ("jaxml.training.workdir", "Workdir", "write_result", 1),
}


def _read(folder, module="event_accumulator"):
    """Returns a reader of TensorBoard for all event files, which keeps every value."""
    accumulator = importlib.import_module(f"tensorboard.backend.event_processing.{module}")
    kinds = [getattr(accumulator, kind, "tensors") for kind in ("SCALARS", "IMAGES", "TENSORS")]
    guidance = dict.fromkeys(kinds, 0)
    return accumulator.EventAccumulator(str(folder), size_guidance=guidance).Reload()


def test_a_run_that_is_killed_five_times_shows_each_step_once(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    run, cache = tmp_path / "run", tmp_path / "compiled"
    arguments = (*RUN, f"--workdir={run}")
    for moment in MOMENTS.values():
        status, output = stop_at(moment, "SIGKILL", *arguments, cache=cache)
        assert status == -signal.SIGKILL, output
    status, output = finish(*arguments, cache=cache)
    assert status == 0, output
    assert len(list((run / "events").iterdir())) == len(MOMENTS) + 1
    events = _read(run / "events")
    tags = events.Tags()
    found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags["scalars"]}
    expected = {
        "train/loss": [],
        "test/loss": [],
        "train/accuracy": [],
        "test/images_per_second": [],
    }
    for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
        for tag, values in expected.items():
            split, _, name = tag.partition("/")
            if line["split"] == split:
                values.append((line["step"], float(np.float32(line[name]))))
    assert expected == {tag: found[tag] for tag in expected}
    for tag, values in found.items():
        every = 1 if tag.startswith("batch/") else 3
        assert [step for step, _ in values] == list(range(every, STEPS + 1, every)), tag
    assert tags["images"] == ["augmented_batch"]
    assert [image.step for image in events.Images("augmented_batch")] == [0]
    shown = _read(run / "events", "plugin_event_accumulator")  # that of the web page
    for tag in ("augmented_batch", "config/text_summary"):
        assert [event.step for event in shown.Tensors(tag)] == [0]
    for tag, values in expected.items():
        assert [event.step for event in shown.Tensors(tag)] == [step for step, _ in values]
