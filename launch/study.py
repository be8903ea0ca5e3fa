"""Measures claims of the course: python -m launch.study --name=NAME|all --out=DIR.

Writes DIR/index.html, a self-contained page, and DIR/findings.json. The status is 1 if a criterion
is not met.
"""

import json
import os
import sys
import time
from typing import Any

from absl import flags

from jaxml import _cpu
from jaxml.config import user_path
from jaxml.errors import InputError, choose
from launch import cli
from launch.outputs import write_text

NAME = flags.DEFINE_string("name", "", "study, or several separated by commas, or `all`")
OUT = flags.DEFINE_string("out", "", "folder of the page; created if it does not exist")
FULL = flags.DEFINE_bool(
    "full", False, "trains longer, and convolutional networks on CIFAR-10; takes hours on a CPU"
)
DATA_DIR = flags.DEFINE_string("data_dir", "", "folder of CIFAR-10, for --full")
SEEDS = flags.DEFINE_integer("seeds", 5, "number of seeds, at least 2", 2)
FIRST_SEED = flags.DEFINE_integer("first_seed", 0, "the first seed; 5 repeats on fresh seeds", 0)


def main() -> None:
    """Runs the studies and writes the page."""
    _cpu.tune(os.environ)
    import jax

    from jaxml import studies  # imports JAX, so after the flags

    names = NAME.value.split(",")
    for name in names:
        choose({"all": "", **studies.STUDIES}, name, "--name")
    if "all" in names:
        names = list(studies.STUDIES)
    if not OUT.value:
        raise InputError("--out must be given")
    if FULL.value and not DATA_DIR.value:
        raise InputError("--data_dir must be given with --full")
    jax.config.update("jax_disable_most_optimizations", not FULL.value)  # compiling takes longer
    out = user_path(OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    settings = studies.Settings(
        seeds=tuple(range(FIRST_SEED.value, FIRST_SEED.value + SEEDS.value)),
        effort=3.0 if FULL.value else 1.0,
        cifar_dir=DATA_DIR.value if FULL.value else "",
    )
    findings = {name: _measure(name, settings) for name in names}
    write_text(out / "index.html", studies.render_page(findings))
    report = {name: _report(finding) for name, finding in findings.items()}
    write_text(out / "findings.json", json.dumps(report, indent=1) + "\n")
    print(f"wrote {out / 'index.html'}")
    sys.exit(0 if all(finding.confirmed for finding in findings.values()) else 1)


def _measure(name: str, settings: Any) -> Any:
    """Runs a study and prints its criteria."""
    import jax

    from jaxml import studies

    start = time.perf_counter()
    finding = studies.load(name).run(settings)
    jax.clear_caches()  # the programs of the next study are different
    verdict = " ".join(finding.verdict.split())
    print(f"{name} ({time.perf_counter() - start:.0f} s): {verdict}", flush=True)
    for check in finding.checks:
        met = "met" if check.holds else "NOT MET"
        mean, low, high = check.interval
        print(f"    {check.effect}: {mean:.4g} in [{low:.4g}, {high:.4g}], {met}", flush=True)
    return finding


def _report(finding: Any) -> dict[str, Any]:
    return {
        "verdict": finding.verdict,
        "confirmed": finding.confirmed,
        "criteria": [
            {"effect": check.effect, "values": [float(value) for value in check.values]}
            for check in finding.checks
        ],
    }


if __name__ == "__main__":
    cli.run(main)
