"""Folders of runs without training, and a parser of pages, for the tests of reports."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np

from jaxml.config import Config, to_json
from jaxml.reporting.findings import Findings

SEGMENT = {
    "step": 0,
    "num_epochs": 3,
    "device": "1 x cpu",
    "jax": "0.10.2",
    "command": "python -m launch.train --config=configs/a.py --config.seed=3",
    "started": "2026-01-01T00:00:00+00:00",
    "commit": "0123abc",
    "clean": False,
    "versions": {"jax": "0.10.2"},
    "hardware": "2 x CPU",
}


def write_run(folder, *, accuracy=0.75, metric="accuracy", **settings):
    """Writes the files of a finished run of three epochs."""
    folder.mkdir(parents=True)
    config = dataclasses.replace(Config(num_epochs=3), **settings)
    (folder / "config.json").write_text(to_json(config))
    lines = []
    for epoch in (1, 2, 3):
        norms = {"stem": [0.1 * epoch, 0.001, 2.0], "head": [0.2, 0.002, 1.0]}
        common = {"step": 10 * epoch, "epoch": epoch, "count": 40, "loss": 1 / epoch}
        train = {**common, "split": "train", metric: 0.5, "learning_rate": 0.1, "layers": norms}
        lines += [train, {**common, "split": "test", metric: accuracy * epoch / 3}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = {
        "test_count": 40,
        "test_loss": 1 / 3,
        f"test_{metric}": accuracy,
        "num_params": 1234,
        "epochs": 3,
        "steps": 30,
        "train_seconds": 12.0,
        "images_per_second": 1000.0,
        "phases": {"prepare": 1.0, "compile": 2.0, "steps": 9.0},
        "device": "1 x cpu",
        "segments": [SEGMENT, {**SEGMENT, "step": 10}],
    }
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def findings(kind):
    """Random outputs of a network for a kind of run: "classes", "binary" or "regression"."""
    generator = np.random.default_rng(0)
    if kind == "regression":
        outputs = generator.normal(size=40).astype(np.float32)
        return Findings(outputs, outputs + 0.1, num_classes=0)
    labels = np.arange(40) % (2 if kind == "binary" else 4)
    if kind == "binary":
        return Findings(generator.normal(size=40).astype(np.float32), labels, num_classes=2)
    return Findings(
        outputs=generator.normal(size=(40, 4)).astype(np.float32),
        targets=labels,
        num_classes=4,
        class_names=("<cat>", "dog", "hen", "cow"),
        multiply_adds=1000,
        peak_flops=1e9,
        kernels=generator.normal(size=(5, 3, 3, 1)),
        samples=np.zeros((3, 8, 8, 1), np.uint8),
        sample_captions=("a", "b", "c"),
        images=lambda indices: np.zeros((len(indices), 8, 8, 1), np.uint8),
    )


class Page(HTMLParser):
    """What a page has: titles of its figures, addresses that it loads, its text."""

    def __init__(self, text):
        super().__init__()
        self.figures, self.addresses, self.words = [], [], []
        self._caption = False
        self.feed(text)
        styles = re.findall(r"url\(([^)]*)\)|@import", text)
        self.addresses += [address for address in styles if not address.startswith("#")]

    def handle_starttag(self, tag, attrs):
        """Collects addresses."""
        self.addresses += [
            value
            for name, value in attrs
            if name in ("src", "href", "action", "srcset")
            and not (value or "").startswith(("data:", "#"))
        ]
        self._caption = tag == "b"

    def handle_data(self, data):
        """Collects titles and text."""
        if self._caption:
            self.figures.append(data)
            self._caption = False
        self.words.append(data)
