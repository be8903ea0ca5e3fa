"""File systems that fill up, for the tests of this folder."""

import subprocess

import pytest


@pytest.fixture
def disk(tmp_path):
    """Mounts a file system of a size; called again, it changes the size.

    Tests are skipped where that is not permitted.
    """
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size):
        options = f"size={size},remount" if folder.is_mount() else f"size={size}"
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"a small file system cannot be mounted: {error}")
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607
