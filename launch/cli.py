"""What the launchers share: the settings on the command line, help, mistakes told in one line."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from absl import app, flags, logging
from ml_collections import config_flags

from jaxml import config as settings
from jaxml.config import Config
from jaxml.errors import InputError, JaxmlError, nearest
from jaxml.interrupt import Interrupted
from launch import cpu

ROOT = Path(__file__).resolve().parent.parent
HELP = {"--help", "-h", "--helpfull"}
# What a file of settings can raise while it is loaded.
LOADING = (SyntaxError, ImportError, NameError, AttributeError, LookupError, OSError)


def run(main: Callable[[], None], *, config: str | None = None, tune: bool = True) -> None:
    """Parses the flags and calls `main`; a mistake in the input ends in one line and status 2.

    Args:
      main: reads its flags.
      config: file of the settings where no `--config` is given; None for a launcher without.
      tune: whether memory and XLA are tuned, as `launch.cpu` says.
    """
    logging.set_verbosity(logging.ERROR)  # the progress notes of libraries
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # and the warnings of XLA
    if tune:
        cpu.tune(os.environ)
    try:
        app.run(lambda _: main(), flags_parser=lambda argv: parse(argv, config))
    except JaxmlError as error:
        print(f"error: {_with_notes(error)}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # whoever reads what is printed has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Interrupted as stop:
        print(_with_notes(stop), file=sys.stderr)
        sys.exit(128 + stop.signum)


def config() -> tuple[str, Config]:
    """The name of the settings' file, without folder and ending, and the settings."""
    flag = flags.FLAGS["config"]
    name = Path(config_flags.get_config_filename(flag).split(":")[0]).stem
    return name, cast(Config, flag.value)


def names_config() -> bool:
    """Whether the command line has `--config=FILE`."""
    return any(re.match(r"--?config(=|$)", argument) for argument in sys.argv)


def overrides() -> list[str]:
    """The dotted names of the settings on the command line."""
    return list(config_flags.get_override_values(flags.FLAGS["config"]))


def _with_notes(error: Exception) -> str:
    return "; ".join([str(error), *getattr(error, "__notes__", [])])


def parse(
    argv: Sequence[str], config: str | None, values: flags.FlagValues = flags.FLAGS
) -> list[str]:
    """Parses a command line.

    Args:
      argv: the command line.
      config: as in `run`.
      values: of what flags.

    Returns:
      What is left of the command line: its first word.

    Raises:
      InputError: a flag, a setting or its value is not what it has to be.
    """
    wants_help = not HELP.isdisjoint(argv)
    argv = [argument for argument in argv if argument not in HELP]
    if config:
        argv = _define_config(argv, config, values)
    try:
        rest = values(argv)
    except flags.UnrecognizedFlagError as error:
        hint = nearest(error.flagname, values) or "; --help lists them"
        raise InputError(f"--{error.flagname}: there is no such flag{hint}") from None
    except flags.Error as error:
        raise InputError(_explain(str(error))) from None
    except LOADING as error:
        raise InputError(f"--config: {type(error).__name__}: {error}") from None
    if len(rest) > 1:
        raise InputError(f"{rest[1]!r}: is not a flag; --help lists them")
    if config and not isinstance(values["config"].value, Config):
        raise InputError("--config: get_config() must return a jaxml.config.Config")
    if wants_help:
        _print_help(values)
        sys.exit(0)
    return rest


def _define_config(argv: list[str], default: str, values: flags.FlagValues) -> list[str]:
    """Defines `--config=FILE.py` and, for every setting, `--config.FIELD=VALUE`."""
    given = [i for i, argument in enumerate(argv) if re.match(r"--?config(=|$)", argument)]
    if not given:
        argv = [argv[0], f"--config={ROOT / default}", *argv[1:]]
    path = argv[given[0]].partition("=")[2] or "".join(argv[given[0] + 1 :][:1]) if given else ""
    if given and not Path(path.split(":")[0]).is_file():
        known = ", ".join(f"configs/{p.name}" for p in sorted((ROOT / "configs").glob("*.py")))
        raise InputError(f"--config={path}: there is no such file; there are {known}")
    for argument in argv[1:]:
        if match := re.match(r"--?(?:no)?config\.([^=]+)", argument):
            settings.check_name(match[1])
    doc = "file with a function get_config() that returns a jaxml.config.Config"
    config_flags.DEFINE_config_file("config", None, doc, values, sys_argv=argv)
    return argv


def _explain(message: str) -> str:
    """Says what a setting may be where absl only says that its value does not parse."""
    match = re.match(r"flag --config\.([\w.]+)=(.*?): ", message)
    if match:
        fields = {name: field for name, field, _ in settings.fields(Config())}
        return (
            f"config.{match[1]}: {match[2]!r} is not allowed, "
            f"it is {settings.allowed(fields[match[1]])}"
        )
    if message.startswith("flag --config="):  # the last line of a traceback says what it was
        return f"--config: {message.strip().splitlines()[-1]}"
    return " ".join(message.split())


def _print_help(values: flags.FlagValues) -> None:
    main = sys.modules["__main__"]
    print(f"{(main.__doc__ or '').strip()}\n\nFlags:")
    for flag in values.get_flags_for_module(main.__name__):
        print(f"  --{flag.name}={flag.default_as_str or ''}\n      {flag.help}")
    if "config" in values:
        print(f"  --config=\n      {values['config'].help}\n\nSettings of this config:")
        print(settings.describe(cast(Config, values["config"].value)))
