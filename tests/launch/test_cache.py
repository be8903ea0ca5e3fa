"""Compiled programs are found again, never taken from strangers, and never in the way."""

import os
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import pytest

from launch.cache import CHECKED, FOLDER, LEAST_SECONDS, keep_compiled, user_folder

ROOT = Path(__file__).parent.parent.parent
SQUARES = """
import os, sys
from pathlib import Path
from launch.cache import keep_compiled
keep_compiled(Path(sys.argv[1]), os.environ)
import jax
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))
print(jax.jit(lambda x: x * x)(3.0), sum(event.endswith("/cache_hits") for event in hits) > 0)
"""


def _square(folder):
    """What a process prints that keeps its programs in a folder, and its complaints."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    run = subprocess.run(
        [sys.executable, "-c", SQUARES, str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout, run.stderr


@pytest.mark.slow
def test_the_next_process_finds_what_was_compiled(tmp_path):
    folder = tmp_path / "runs" / ".compiled"
    assert _square(folder) == ("9.0 False\n", "")
    assert _square(folder) == ("9.0 True\n", "")
    for path in folder.glob("*-cache"):
        path.write_bytes(b"")  # as a machine that lost its power leaves it
    assert _square(folder) == ("9.0 False\n", "")
    assert _square(folder) == ("9.0 True\n", "")
    for path in folder.glob("*-cache"):
        path.write_bytes(path.read_bytes()[:100])
    assert _square(folder) == ("9.0 False\n", "")
    assert _square(folder) == ("9.0 True\n", "")


def test_truncated_programs_are_removed_from_the_users_own_folder(tmp_path):
    program = zlib.compress(bytes(1000))
    for name, content in {"whole": program, "cut": program[:-1], "empty": b""}.items():
        (tmp_path / f"{name}-cache").write_bytes(content)
    (tmp_path / "else").write_bytes(b"")
    with warnings.catch_warnings():
        keep_compiled(Path("/new"), {FOLDER: str(tmp_path)})
        warnings.warn("Error reading persistent compilation cache entry for 'jit_f'", stacklevel=1)
    assert {path.name for path in tmp_path.iterdir()} == {"whole-cache", "else", CHECKED}
    old = tmp_path / "cut-cache"
    old.write_bytes(program[:-1])
    os.utime(old, (0, 0))  # older than the last check
    keep_compiled(Path("/new"), {FOLDER: str(tmp_path)})
    assert old.exists()


@pytest.mark.slow
def test_a_folder_that_cannot_be_made_or_read_is_not_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    assert _square(tmp_path / "file") == ("9.0 False\n", "")
    assert _square(tmp_path / "file" / ".compiled") == ("9.0 False\n", "")


def test_a_folder_into_which_others_write_is_not_used(tmp_path, monkeypatch):
    environment = {}
    tmp_path.chmod(0o777)
    keep_compiled(tmp_path, environment)
    assert not environment
    tmp_path.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)
        keep_compiled(tmp_path, environment)
    assert not environment
    keep_compiled(tmp_path, environment)
    assert environment == {FOLDER: str(tmp_path), LEAST_SECONDS: "0"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({FOLDER: "/somewhere"}, {FOLDER: "/somewhere"}),
        ({FOLDER: ""}, {FOLDER: ""}),
        ({LEAST_SECONDS: "2"}, {FOLDER: "/new", LEAST_SECONDS: "2"}),
    ],
)
def test_what_the_user_set_is_left_as_it_is(before, after):
    keep_compiled(Path("/new"), before)
    assert before == after


def test_commands_without_a_folder_use_that_of_the_user():
    assert user_folder({"XDG_CACHE_HOME": "/elsewhere"}) == Path("/elsewhere/jaxml/compiled")
    assert user_folder({}) == Path.home() / ".cache" / "jaxml" / "compiled"
