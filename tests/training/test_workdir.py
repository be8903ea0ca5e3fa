"""The folder of a run: what it accepts, what it keeps, and that nothing is written over."""

import json

import pytest

from jaxml.config import Config, to_json
from jaxml.errors import InputError, SaveError
from jaxml.training.workdir import check_workdir, open_workdir, read_config


def test_a_new_folder_holds_the_settings(tmp_path):
    path = tmp_path / "a" / "run"
    with open_workdir(path, Config(seed=3)):
        assert (path / "config.json").read_text() == to_json(Config(seed=3))
    assert read_config(path) == Config(seed=3)


def test_a_run_with_other_settings_is_refused_and_left_alone(tmp_path):
    with open_workdir(tmp_path, Config(seed=3)) as files:
        files.write_result({"test_accuracy": 1.0})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(InputError, match=r"another config: config\.seed is 3 there, 4 here"):
        check_workdir(tmp_path, Config(seed=4))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match=r"got a folder with 'thesis\.tex' and no run"):
        check_workdir(tmp_path, Config())
    with pytest.raises(InputError, match="must be a folder, got a file"):
        check_workdir(tmp_path / "thesis.tex", Config())
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json: must be the JSON of a config"):
        check_workdir(tmp_path, Config())
    assert (tmp_path / "config.json").read_text() == "{"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match="Not a directory"),
        open_workdir(tmp_path / "file/x", Config()),
    ):
        pass


def test_what_a_killed_start_leaves_is_taken_over(tmp_path):
    (tmp_path / ".lock").write_text("")
    (tmp_path / "config.json.partial").write_text('{"se')
    with open_workdir(tmp_path, Config()):
        assert read_config(tmp_path) == Config()


def test_two_runs_do_not_share_a_folder(tmp_path):
    with (
        open_workdir(tmp_path, Config()),
        pytest.raises(InputError, match="another run has locked it"),
        open_workdir(tmp_path, Config()),
    ):
        pass
    with open_workdir(tmp_path, Config()):
        pass


def test_metrics_are_rewound_to_a_step(tmp_path):
    said = []
    with open_workdir(tmp_path, Config()) as files:
        files.rewind_metrics(0, said.append)
        for step in (1, 2, 3):
            files.append_metrics({"step": step})
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write('{"step": 2, "lo')
        files.rewind_metrics(2, said.append)
        files.append_metrics({"step": 4})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 4]
    assert said == []


@pytest.mark.parametrize(
    "damage",
    [b"\n", b"garbage\n", b"\xff\xfe\n", b"[]\n", b"{}\n", b'{"step": "x"}\n', b"[" * 9999],
)
def test_damaged_lines_of_metrics_are_dropped(tmp_path, damage):
    said, path = [], tmp_path / "metrics.jsonl"
    with open_workdir(tmp_path, Config()) as files:
        path.write_bytes(b'{"step": 1}\n' + damage.removesuffix(b"\n") + b'\n{"step": 2}\n')
        files.rewind_metrics(2, said.append)
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n'
    assert said == [f"{path}: 1 damaged line dropped"]


def test_metrics_that_cannot_be_written_are_written_later(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    with open_workdir(tmp_path, Config()) as files:
        files.append_metrics({"step": 1})
        path.rename(tmp_path / "aside")
        path.mkdir()
        for step in (2, 3):
            with pytest.raises(SaveError, match=r"metrics\.jsonl: Is a directory$"):
                files.append_metrics({"step": step})
        path.rmdir()
        (tmp_path / "aside").rename(path)
        files.flush()
        files.flush()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3]


def test_a_folder_that_was_replaced_is_not_written_to(tmp_path):
    path = tmp_path / "run"
    with open_workdir(path, Config()) as first:
        path.rename(tmp_path / "old")
        actions = [
            first.check_owner,
            lambda: first.append_metrics({"step": 1}),
            lambda: first.write_result({}),
            first.flush,
        ]
        for action in actions:
            with pytest.raises(InputError, match="was removed, renamed or replaced"):
                action()
        with open_workdir(path, Config(seed=1)) as second:
            for action in actions:
                with pytest.raises(InputError, match="was removed, renamed or replaced"):
                    action()
            second.append_metrics({"step": 7})
            assert (path / "metrics.jsonl").read_text() == '{"step": 7}\n'
            assert not (path / "result.json").exists()


def test_the_config_follows_settings_that_may_change(tmp_path):
    with open_workdir(tmp_path, Config(num_epochs=3)):
        pass
    changed = Config(num_epochs=5, eval_batch_size=7)
    with open_workdir(tmp_path, changed):
        assert read_config(tmp_path) == changed
    with pytest.raises(InputError, match=r"config\.num_epochs is 5 there, 3 here"):
        check_workdir(tmp_path, Config(num_epochs=3))


def test_a_result_is_there_once_it_is_written(tmp_path):
    with open_workdir(tmp_path, Config()) as files:
        assert files.read_result() is None
        files.write_result({"test_accuracy": 0.5})
        assert files.read_result() == {"test_accuracy": 0.5}


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff{", b"[" * 9999, b"{"])
def test_a_damaged_result_is_none(tmp_path, content):
    with open_workdir(tmp_path, Config()) as files:
        (tmp_path / "result.json").write_bytes(content)
        assert files.read_result() is None
        files.set_result_aside()
        assert (tmp_path / "result.damaged.json").read_bytes() == content
        assert not (tmp_path / "result.json").exists()


def test_a_folder_without_a_run_has_no_settings(tmp_path):
    with pytest.raises(InputError, match=r"holds no run \(config\.json is missing\)"):
        read_config(tmp_path)
    for content in (b"\xff\xfe", b"{", b"[]", b"[" * 9999):
        (tmp_path / "config.json").write_bytes(content)
        with pytest.raises(InputError, match=r"config\.json: not the JSON of a config"):
            read_config(tmp_path)
        with pytest.raises(InputError, match=r"config\.json: must be the JSON of a config"):
            check_workdir(tmp_path, Config())
    (tmp_path / "config.json").write_text('{"sed": 1}')
    with pytest.raises(
        InputError, match=r"config\.json: config\.sed is not a setting of this version"
    ):
        read_config(tmp_path)
