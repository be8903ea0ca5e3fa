"""Compares runs in one HTML file: python -m launch.report DIR [DIR ...] --out=FILE.html.

Runs whose configs differ in the seed alone are one recipe; the page shows the spread over its seeds
and the differences between recipes. The report of a single run is report.html in its folder.
"""

from absl import flags

from jaxml.config import user_path
from jaxml.errors import InputError
from launch import cli
from launch.outputs import check_output, write_text

OUT = flags.DEFINE_string("out", "", "HTML file to write; an existing one is replaced")


def main(words: list[str]) -> None:
    """Writes the comparison."""
    if not words:
        raise InputError("folders of runs must be given: python -m launch.report DIR [DIR ...]")
    if not OUT.value:
        raise InputError("--out must be given")
    out = user_path(OUT.value)
    check_output("--out", out)
    from jaxml.reporting.comparison import compare  # imports JAX, so after the flags

    write_text(out, compare([user_path(word) for word in words]))
    print(f"comparison in {out}")


if __name__ == "__main__":
    cli.run(main, words=True)
