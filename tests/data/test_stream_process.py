"""The memory of a process that streams images, and what is left when it is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.sources import formats
from tests.launch.processes import ROOT

# Prints the resident memory in KiB after each epoch of 100 images of 600x600.
EPOCHS = """
import sys
import numpy as np
from pathlib import Path
from jaxml.config import DataConfig
from jaxml.data import load_dataset, stream
config = DataConfig(
    name="folder", dir=sys.argv[1], image_size=64, smallest_crop=0.1, max_damaged=0
)
split = load_dataset(config).train
for epoch in range(int(sys.argv[2])):
    draws = stream.draw_steps(
        lambda _: np.random.default_rng(epoch).permutation(100), range(25), steps_per_epoch=25,
        batch_size=4, part=slice(None),
    )
    for _ in stream.stream(split, draws, workers=4):
        pass
    (line,) = (l for l in open("/proc/self/status") if l.startswith("VmRSS"))
    print(line.split()[1], flush=True)
"""
SHARED = "/dev/shm"  # noqa: S108


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    data = formats.examples(100, size=600)
    for number, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        path = folder / "train" / formats.CLASS_NAMES[label] / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(formats.png(image, format="JPEG"))
    formats.write_folder(folder, "val", formats.examples(3))
    return folder


def _start(photos, epochs):
    return subprocess.Popen(
        [sys.executable, "-c", EPOCHS, str(photos), str(epochs)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_the_memory_does_not_grow_over_epochs(photos):
    output, errors = _start(photos, epochs=4).communicate(timeout=300)
    first, *others = map(int, output.split())
    assert len(others) == 3, errors
    assert max(others) < first + 10_000  # one epoch decodes 100 MB


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux")
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.large)])
def test_nothing_is_left_in_shared_memory_after_kills(kills, photos):
    for _ in range(kills):
        process = _start(photos, epochs=10_000)
        assert process.stdout is not None
        assert process.stdout.readline()  # it is streaming
        place = Path(f"/proc/{process.pid}")
        used = [str(link.readlink()) for link in (place / "fd").iterdir()]
        used += (place / "maps").read_text().split()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        # Threads share their memory without files, so that none can be left behind.
        assert not [name for name in used if name.startswith(SHARED)]
