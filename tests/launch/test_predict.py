"""The commands that use a trained network, their tables, and their answers to mistakes."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pytest

from jaxml.data.sources import digits
from jaxml.errors import InputError
from jaxml.training import train_and_evaluate
from launch import pictures, tables
from tests import tiny
from tests.launch import processes

pytestmark = pytest.mark.slow

COLUMNS = {"image": str, "class_1": str, "probability_1": float, "error": str}
ROWS = [
    {"image": "a.png", "class_1": "cat", "probability_1": 0.5},
    {"image": "b\udcff.png", "error": "the file is not an image"},
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict")
    train_and_evaluate(tiny.config(num_epochs=1), folder / "run")
    np.save(folder / "images.npy", digits.load(folder).test.inputs[:5])
    (folder / "w.safetensors").touch()
    return folder


def test_tables_hold_the_rows_that_were_written(tmp_path):
    for suffix, write in tables.WRITERS.items():
        with write(tmp_path / f"t{suffix}", COLUMNS) as add:
            for row in ROWS:
                add(row)
            assert not (tmp_path / f"t{suffix}").exists()
    with (tmp_path / "t.csv").open() as file:
        read = list(csv.DictReader(file))
    assert read[0] == {"image": "a.png", "class_1": "cat", "probability_1": "0.5", "error": ""}
    assert read[1]["image"] == r"b\udcff.png"
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert lines[0] == ROWS[0]
    stored = pyarrow.parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert stored[0] == {**ROWS[0], "error": None}
    assert (stored[1]["error"], stored[1]["probability_1"]) == (ROWS[1]["error"], None)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_table_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("before")
    with pytest.raises(KeyError), tables.write_csv(path, COLUMNS) as add:
        add({}["row"])
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    with (
        pytest.raises(InputError, match=r"none/t.csv: cannot be written \(No such file"),
        tables.write_csv(tmp_path / "none/t.csv", COLUMNS),
    ):
        pass


def test_features_are_written_with_the_damaged_files(tmp_path):
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = [
        SimpleNamespace(name=name, values=row, error=error)
        for name, row, error in (("a", values[0], ""), ("b", [], "broken"), ("c", values[1], ""))
    ]
    tables.write_features(tmp_path / "f.npz", found)
    stored = np.load(tmp_path / "f.npz")
    np.testing.assert_array_equal(stored["features"], values)
    assert stored["images"].tolist() == ["a", "c"]
    assert (stored["damaged"].tolist(), stored["errors"].tolist()) == (["b"], ["broken"])
    assert [path.name for path in tmp_path.iterdir()] == ["f.npz"]


def test_a_strip_shows_where_the_maps_are_large():
    heat = np.zeros((8, 8))
    heat[2, 3] = 1.0
    strip = np.asarray(pictures.attribution_strip(np.full((8, 8, 1), 100, np.uint8), [heat]))
    assert strip.shape == (224, 2 * 9 * 28, 3)
    assert strip[2 * 28, (9 + 3) * 28].tolist() == [255, 210, 0]
    assert strip[0, 9 * 28].tolist() == [50, 50, 50]


def test_predictions_explanations_and_a_second_run(run):
    arguments = [f"--workdir={run}/run", f"--input={run}/images.npy", f"--output={run}/p.csv"]
    done = processes.run("launch.predict", *arguments, "--top=2", f"--explain={run}/explained")
    assert done.returncode == 0, done.stderr
    assert "5 inputs in" in done.stderr
    with (run / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "image", "class_1", "probability_1", "class_2", "probability_2", "error"
    ]  # fmt: skip
    assert [row["image"] for row in rows] == [f"images.npy[{i}]" for i in range(5)]
    assert len(list((run / "explained").iterdir())) == 5
    done = processes.run("launch.predict", *arguments)
    assert done.returncode == 2
    assert done.stderr == f"error: --output: {run}/p.csv: exists; --overwrite replaces it\n"


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("predict", ["--input=x"], "--output must be given"),
        ("predict", ["--input=.", "--output=x.txt"], "--output must end in .csv, .jsonl, .parquet"),
        ("predict", ["--input={}/none", "--output={}/x.csv"], "--input={}/none: no such file or"),
        ("predict", ["--input={}/run", "--output={}/x.csv"], "--input={}/run: must contain images"),
        (
            "predict",
            ["--input={}/images.npy", "--output={}/x.npz", "--features=stage7"],
            "--features must be one of features, stage1, stage2, stem, got 'stage7'",
        ),
        ("export", ["--out={}/run", "--format=stablehlo"], "--out: {}/run: is not empty; --over"),
        ("export", ["--out={}/w.safetensors"], "--out: {}/w.safetensors: exists; --overwrite repl"),
        ("evaluate", ["--config.seed=1"], "--config.seed must not be given: only the data"),
        ("evaluate", ["--corruptions=fog"], "--corruptions must be one of noise, blur"),
        (
            "evaluate",
            ["--probe=stage7"],
            "--probe must be one of features, stage1, stage2, stem, got",
        ),
        ("doctor", ["--plan=h100x8"], "--plan must be empty without --config=FILE"),
    ],
)
def test_a_mistake_is_answered_in_one_line(run, command, arguments, message):
    workdir = [] if command == "doctor" else [f"--workdir={run}/run"]
    words = [word.replace("{}", str(run)) for word in arguments]
    done = processes.run(f"launch.{command}", *workdir, *words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: " + message.replace("{}", str(run)))
    assert done.stderr.count("\n") == 1
