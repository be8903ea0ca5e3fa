"""What the launchers share: the config flag, help, and mistakes told in one line."""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from jaxml import config as settings
from jaxml.config import Config
from jaxml.errors import InputError, JaxmlError, nearest
from jaxml.interrupt import Interrupted

ROOT = Path(__file__).resolve().parent.parent
# What a file of settings can raise while it is loaded.
LOADING = (SyntaxError, ImportError, NameError, AttributeError, TypeError, ValueError, LookupError)


def define_config(default: str) -> flags.FlagHolder[Config]:
    """Defines `--config=FILE.py` and, with it, `--config.FIELD=VALUE` for every setting."""
    doc = "file with a function get_config() that returns a jaxml.config.Config"
    return config_flags.DEFINE_config_file("config", str(ROOT / default), doc)


def run(main: Callable[[], object]) -> None:
    """Parses the flags and calls `main`; a mistake in the input ends in one line and status 2."""
    logging.set_verbosity(logging.ERROR)  # the progress notes of libraries
    try:
        app.run(lambda _: main() and None, flags_parser=parse)
    except JaxmlError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as stop:
        print(f"{stop}; the same command goes on from there", file=sys.stderr)
        sys.exit(128 + stop.signum)


def parse(argv: Sequence[str], flag_values: flags.FlagValues = flags.FLAGS) -> list[str]:
    """Parses a command line.

    Raises:
      InputError: a flag, a setting or its value is not what it has to be.
    """
    wants_help = {"--help", "-h", "--helpfull"} & set(argv)
    argv = [argument for argument in argv if argument not in wants_help]
    _check_config_file(argv)
    for argument in argv[1:]:
        if match := re.match(r"--?(?:no)?config\.([\w.]+)", argument):
            settings.check_name(match[1])
    try:
        rest = flag_values(argv)
    except flags.UnrecognizedFlagError as error:
        hint = nearest(error.flagname, flag_values) or "; --help lists them"
        raise InputError(f"--{error.flagname}: there is no such flag{hint}") from None
    except flags.Error as error:
        raise InputError(_explain(str(error))) from None
    except LOADING as error:
        raise InputError(f"--config: {type(error).__name__}: {error}") from None
    if len(rest) > 1:
        raise InputError(f"{rest[1]!r}: is not a flag; --help lists them")
    config = flag_values["config"].value if "config" in flag_values else Config()
    if not isinstance(config, Config):
        raise InputError(
            f"--config: get_config() must return a jaxml.config.Config, not {config!r}"
        )
    if wants_help:
        _print_help(config, flag_values)
        sys.exit(0)
    return rest


def _check_config_file(argv: Sequence[str]) -> None:
    for index, argument in enumerate(argv):
        if match := re.fullmatch(r"--?config(?:=(.*))?", argument):
            value = match[1] if match[1] is not None else " ".join(argv[index + 1 : index + 2])
            if not Path(value.split(":")[0]).is_file():
                known = ", ".join(
                    f"configs/{p.name}" for p in sorted((ROOT / "configs").glob("*.py"))
                )
                raise InputError(f"--config={value}: there is no such file; there are {known}")


def _explain(message: str) -> str:
    """Says what a setting may be where absl only says that its value does not parse."""
    match = re.match(r"flag --config\.([\w.]+)=(.*?): ", message)
    known = {name: field for name, field, _ in settings.fields(Config())}
    if match and match[1] in known:
        wanted = settings.allowed(known[match[1]])
        return f"config.{match[1]}: {match[2]!r} is not allowed, it is {wanted}"
    return " ".join(message.split())


def _print_help(config: Config, flag_values: flags.FlagValues) -> None:
    main = sys.modules["__main__"]
    print(f"{(main.__doc__ or '').strip()}\n\nFlags:")
    for flag in flag_values.get_flags_for_module(main.__name__):
        print(f"  --{flag.name}={flag.default_as_str or ''}\n      {flag.help}")
    if "config" in flag_values:
        print(f"\nSettings, with their values in this config:\n{settings.describe(config)}")
