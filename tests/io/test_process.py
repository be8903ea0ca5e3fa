"""Child processes: their output, their time limit and their failures."""

import os
import sys
import time

import pytest

from jaxml.io import process


def run(code, limit_s=60.0, **environment):
    return process.run(["-c", code], limit_s=limit_s, environment={**os.environ, **environment})


def test_a_child_finds_the_same_modules_and_has_the_given_environment(monkeypatch, tmp_path):
    (tmp_path / "only_here.py").write_text("value = 3")
    monkeypatch.syspath_prepend(str(tmp_path))
    code = "import os, only_here, jaxml; print(only_here.value, os.environ['GIVEN'])"
    assert run(code, GIVEN="x") == "3 x\n"


def test_modules_of_the_current_folder_are_found_only_where_they_are_here(monkeypatch, tmp_path):
    (tmp_path / "only_here.py").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(process.ChildError, match="status 1: ModuleNotFoundError: No module"):
        run("import only_here")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert run("import only_here") == ""


def test_a_child_that_takes_too_long_is_killed():
    begin = time.monotonic()
    with pytest.raises(process.ChildError, match=r"^the child process took more than 0.2 s$"):
        run("import time; time.sleep(60)", limit_s=0.2)
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.abort()", "status -6: no message"),
        ("import faulthandler, os; faulthandler.enable(); os.abort()", "Fatal Python error: Abort"),
        ("raise ValueError('a\\nb')", "status 1: ValueError: a"),
        ("import sys; sys.exit('x' * 1000)", f"status 1: {'x' * 300}"),
        ("import sys; sys.stderr.write('note\\nF1127 12:00 stop\\n  @ 0x0'); sys.exit(3)", "F1127"),
    ],
)
def test_a_child_that_fails(code, message):
    with pytest.raises(process.ChildError) as caught:
        run(code)
    assert message in str(caught.value)
    assert str(caught.value).startswith("the child process ended with status ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 350


def test_a_python_that_cannot_start_another(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(process.ChildError, match="did not start"):
        run("")
    monkeypatch.setattr(sys, "executable", None)
    with pytest.raises(process.ChildError, match="Python cannot start a child process"):
        run("")
    monkeypatch.undo()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(process.ChildError, match="Python cannot start a child process"):
        run("")
