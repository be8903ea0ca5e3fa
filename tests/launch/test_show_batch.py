"""The batch of a step, as a person asks for it."""

import numpy as np
import pytest
from PIL import Image

from jaxml import config as settings
from jaxml.config import DataConfig
from jaxml.errors import InputError
from launch import show_batch
from tests import tiny
from tests.data.sources import formats
from tests.launch import processes


@pytest.mark.slow
def test_the_files_of_a_batch_are_printed_and_drawn(tmp_path):
    photos, workdir, out = tmp_path / "photos", tmp_path / "run", tmp_path / "grid.png"
    formats.write_folder(photos, "train", formats.examples(12, size=8))
    data = DataConfig(name="folder", dir=str(photos), validation_fraction=0.3)
    workdir.mkdir()
    config = settings.to_json(tiny.config(batch_size=3, data=data))
    (workdir / "config.json").write_text(config)
    flags = (f"--workdir={workdir}", "--step=1", f"--out={out}")
    done = processes.run("launch.show_batch", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    grid = np.asarray(Image.open(out))
    for place, line in enumerate(lines):
        _, _, example, _, label, name = line.split()
        assert name.split("/")[1] == label
        assert int(example) in range(9)
        top, left = 8 * (place // 2), 8 * (place % 2)
        cell = grid[top : top + 8, left : left + 8]
        np.testing.assert_array_equal(cell, np.asarray(Image.open(photos / name)))
    assert not grid[8:, 8:].any()


def test_examples_that_are_no_images_are_not_drawn(tmp_path):
    with pytest.raises(InputError, match="--out must be empty for examples that are no images"):
        show_batch._write_grid(tmp_path / "a.png", np.zeros((3, 10)))
