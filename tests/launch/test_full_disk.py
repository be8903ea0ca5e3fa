"""A disk that is full at any save of a run stops it in one line, and it resumes to the same bits.

    python -m pytest tests/launch/test_full_disk.py --large

mounts file systems of some hundred kB and is skipped where that is not permitted.
"""

import pytest

from tests import stops
from tests.launch.processes import finish, outcome, whole_run

EPOCHS = 6
RUN = (
    "--config.model.name=resnet_tiny",
    "--config.optim.warmup_epochs=1",
    "--config.eval_every_epochs=1",
    f"--config.num_epochs={EPOCHS}",
    f"--config.checkpoint.keep={EPOCHS}",
)
PAGE = 4096


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return whole_run(tmp_path_factory.mktemp("whole"), *RUN)


@pytest.mark.large
@pytest.mark.parametrize("policy", ["stop", "continue"])
@pytest.mark.parametrize("saved", range(EPOCHS))
def test_a_full_disk_loses_nothing(whole, disk, saved, policy, record_property):
    pages = -(-(whole / "run/checkpoints/22.safetensors").stat().st_size // PAGE)
    small = (3 + saved * pages + pages // 2) * PAGE  # 3: folders take none, each other file one
    arguments = (*RUN, f"--config.checkpoint.on_failure={policy}")
    workdir = disk(small) / "run"
    status, output = finish(*arguments, f"--workdir={workdir}", cache=whole / "compiled")
    assert status == 2, output
    error = output.splitlines()[-1]
    assert error.startswith(f"error: {workdir}/checkpoints/")
    assert "No space left on device" in error
    assert output.count("error:") == 1
    assert len(list((workdir / "checkpoints").glob("*.safetensors"))) == saved
    assert not (workdir / "result.json").exists()
    disk("64m")
    status, output = finish(*arguments, f"--workdir={workdir}", cache=whole / "compiled")
    assert status == 0, output
    assert (f"resuming from step {22 * saved}\n" in output) == bool(saved)
    equal = outcome(workdir) == outcome(whole / "run")
    stops.record(record_property, "one process, full disk", stops=1, runs=1, equal=equal)
    assert equal
