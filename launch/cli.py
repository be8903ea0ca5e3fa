"""Shared by the commands: parsing of flags and configs, help, one-line error messages."""

import io
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from pathlib import Path
from typing import cast

from absl import app, flags, logging
from ml_collections import config_flags

from jaxml import config as settings
from jaxml.config import Config, user_path
from jaxml.errors import InputError, JaxmlError, nearest, one_line
from jaxml.training.signals import Interrupted
from launch import cache

ROOT = Path(__file__).resolve().parent.parent
# What to type for a launcher: a wheel has console scripts, and its `launch` is not on the path.
COMMAND = "jaxml-{}" if ROOT.name == "jaxml_launchers" else "python -m launch.{}"
OURS = "jaxml.errors.InputError: "
CHECKPOINT_HELP = (
    "newest, best, or the number of a step; the parameters of several checkpoints, separated by "
    "commas, are averaged"
)
HELP = {"--help", "-h", "--helpfull"}
# Errors that a config file can raise while it is loaded.
LOADING = (SyntaxError, ImportError, NameError, AttributeError, LookupError, OSError)
# Messages of JAX about a device or an option that an environment variable selects.
ENVIRONMENT = re.compile(
    "Unable to initialize backend|Unknown backend|for environment '|"
    "for JAX flag|Disallowed .+ transfer"
)


def run(main: Callable[..., None], *, config: str | None = None, words: bool = False) -> None:
    """Parses the flags and calls `main`; reports an input error in one line, with status 2.

    Args:
      main: the command, which reads its flags.
      config: default config file; None for a command without a config.
      words: whether the command takes the words of the command line that are not flags, as a list.
    """
    for stream in (sys.stdout, sys.stderr):  # a path may have characters that they cannot encode
        cast(io.TextIOWrapper, stream).reconfigure(errors="backslashreplace")
    logging.set_verbosity(logging.ERROR)  # the progress notes of libraries
    getLogger("jaxml").setLevel(logging.WARNING)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # and the warnings of XLA
    try:
        app.run(
            lambda argv: main(argv[1:]) if words else main(),
            flags_parser=lambda argv: parse(argv, config, words=words),
        )
    except BrokenPipeError:  # the reader of the output has ended, for example `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Interrupted as stop:
        print(_with_notes(stop), file=sys.stderr)
        sys.exit(128 + stop.signum)
    except KeyboardInterrupt:  # Python was started in another way than with -m
        print("stopped by SIGINT", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        line = explain(error, os.environ)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)


def explain(error: Exception, environment: Mapping[str, str]) -> str | None:
    """Returns a one-line message for an error that the user can correct.

    Args:
      error: raised by a command.
      environment: `os.environ`.

    Returns:
      The message, or None for an error that needs a traceback.

    Example:
      >>> explain(FileNotFoundError(2, "No such file or directory", "x"), {})
      'x: No such file or directory'
    """
    text = one_line(error)
    if isinstance(error, JaxmlError):
        return _with_notes(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{_readable(error.filename)}: {error.strerror}"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text or "Out of memory" in text:
        return f"out of memory{': ' + text[:300] if text else ''}"
    # JAX only asserts that a requested CUDA device exists.
    if ENVIRONMENT.search(text) or (isinstance(error, AssertionError) and not _has_devices()):
        asked = [f"{name}={environment[name]}" for name in sorted(environment) if _asks(name)]
        return f"{' '.join(asked)}: {text[:300] or 'JAX finds no such device'}".removeprefix(": ")
    return None


def _asks(name: str) -> bool:
    """Returns whether an environment variable configures JAX, apart from its cache."""
    return name.startswith("JAX_") and name not in (cache.FOLDER, cache.LEAST_SECONDS)


def _has_devices() -> bool:
    """Returns whether JAX, if it is imported, finds a device of the selected kind."""
    if "jax" not in sys.modules:
        return True
    try:
        return bool(sys.modules["jax"].devices())
    except (AssertionError, RuntimeError):
        return False


def _readable(name: str | bytes) -> str:
    text = os.fsdecode(name)
    return text if len(text) <= 120 else f"{text[:60]}...{text[-20:]} ({len(text)} characters)"


def config() -> tuple[str, Config]:
    """Returns the name of the config file, without folder and extension, and the config."""
    flag = flags.FLAGS["config"]
    name = Path(config_flags.get_config_filename(flag).split(":")[0]).stem
    return name, cast(Config, flag.value)


def config_file() -> str:
    """Returns the config file, relative to the project if it is there."""
    path = Path(config_flags.get_config_filename(flags.FLAGS["config"]))
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def override_words(changes: Mapping[str, object]) -> list[str]:
    """Returns the settings of the command line as its words, with changes."""
    chosen = {name: settings.value(config()[1], name) for name in overrides()}

    def text(value: object) -> str:
        strings = isinstance(value, tuple) and all(isinstance(entry, str) for entry in value)
        return ",".join(cast(tuple[str, ...], value)) if strings else str(value)

    return [f"--config.{name}={text(value)}" for name, value in {**chosen, **changes}.items()]


def names_config() -> bool:
    """Returns whether the command line has `--config=FILE`."""
    return any(re.match(r"--?config(=|$)", argument) for argument in sys.argv)


def overrides() -> list[str]:
    """Returns the dotted names of the settings on the command line."""
    return list(config_flags.get_override_values(flags.FLAGS["config"]))


def _with_notes(error: Exception) -> str:
    """Joins a message and its one-line notes; JAX adds longer notes about its traceback."""
    notes = [note for note in getattr(error, "__notes__", []) if "\n" not in note]
    return "; ".join([str(error), *notes])


def parse(
    argv: Sequence[str],
    config: str | None,
    values: flags.FlagValues = flags.FLAGS,
    *,
    words: bool = False,
) -> list[str]:
    """Parses a command line.

    Args:
      argv: the command line.
      config: default config file, or None (see `run`).
      values: flags to parse.
      words: whether words that are not flags are allowed.

    Returns:
      The name of the command, and the words that are not flags.

    Raises:
      InputError: a flag or setting is unknown, or has an invalid value.
    """
    wants_help = not HELP.isdisjoint(argv)
    argv = [argument for argument in argv if argument not in HELP]
    try:
        unset: list[str] = []
        if config:
            argv, unset = _define_config(argv, config, values)
        rest = values(argv)
    except flags.UnrecognizedFlagError as error:
        hint = nearest(error.flagname, values) or "; --help lists them"
        raise InputError(f"--{error.flagname} is not a flag{hint}") from None
    except flags.Error as error:
        raise InputError(_explain(str(error))) from None
    except UnicodeDecodeError:
        raise InputError("--flagfile must be a text file in UTF-8") from None
    except LOADING as error:
        raise InputError(f"--config: {type(error).__name__}: {error}") from None
    if len(rest) > 1 and not words:
        raise InputError(f"{rest[1]!r} is not a flag; --help lists them")
    if config and not isinstance(values["config"].value, Config):
        raise InputError("--config: get_config() must return a jaxml.config.Config")
    for name in unset:
        settings.assign(cast(Config, values["config"].value), name, None)
        config_flags.get_override_values(values["config"])[name] = None
    if wants_help:
        _print_help(values)
        sys.exit(0)
    return rest


def _define_config(
    argv: list[str], default: str, values: flags.FlagValues
) -> tuple[list[str], list[str]]:
    """Defines `--config=FILE.py` and `--config.FIELD=VALUE` for every setting.

    Returns:
      The command line, and the dotted names of the settings that it sets to None.
    """
    text, words, rest = str(ROOT / default), [], iter(argv[1:])
    for word in rest:
        if re.match("--?config(=|$)", word):
            text = _find_config(word.partition("=")[2] if "=" in word else next(rest, ""))
        else:
            words.append(word)
    argv = [argv[0], f"--config={text}", *words]  # the other words override its settings
    argv = _quote(values.read_flags_from_files(argv, force_gnu=False))
    argv, unset = _split_unset(argv)
    doc = "file with a function get_config() that returns a jaxml.config.Config"
    config_flags.DEFINE_config_file("config", None, doc, values, sys_argv=argv)
    return argv, unset


def _quote(argv: list[str]) -> list[str]:
    """Writes words with commas between them as tuples, for settings that are tuples of strings."""
    words = {f"config.{name}" for name, field, _ in settings.fields(Config())
             if field.type == tuple[str, ...]}  # fmt: skip

    def quote(argument: str) -> str:
        name, equals, value = argument.partition("=")
        if name.lstrip("-") not in words or not equals or value.startswith(("(", "[")):
            return argument
        return f"{name}={tuple(filter(None, value.split(',')))}"

    return list(map(quote, argv))


def _split_unset(argv: list[str]) -> tuple[list[str], list[str]]:
    """Separates the settings whose value is None, which absl's parsers of numbers do not accept.

    Returns:
      The other arguments, and the dotted names of the settings whose last value is None.
    """
    optional = {name for name, field, _ in settings.fields(Config()) if settings.is_optional(field)}
    unset: dict[str, bool] = {}
    rest = [argv[0]]
    for argument in argv[1:]:
        if argument == "None" and re.fullmatch(r"--?config\.[^=]+", rest[-1]):
            argument = f"{rest.pop()}=None"  # name and value were two words
        match = re.match(r"--?(?:no)?config\.([^=]+)(=None$)?", argument)
        if match:
            settings.check_name(match[1])
            unset[match[1]] = bool(match[2]) and match[1] in optional
        if not match or not unset[match[1]]:
            rest.append(argument)
    return rest, [name for name, is_none in unset.items() if is_none]


def _find_config(text: str) -> str:
    """Returns the path of a config file, given relative to here or to the project."""
    name, colon, argument = text.partition(":")
    for found in (user_path(name), ROOT / name):
        if os.path.isfile(found):  # noqa: PTH113 (a Path raises an error where a name is too long)
            return f"{found}{colon}{argument}"
    known = ", ".join(f"configs/{p.name}" for p in sorted((ROOT / "configs").glob("*.py")))
    raise InputError(f"--config={_readable(text)}: no such file; the project has {known}")


def _explain(message: str) -> str:
    """Returns a message with the rule for a setting, if absl only says that parsing failed."""
    match = re.match(r"flag --config\.([\w.]+)=(.*?): ", message)
    if match:
        fields = {name: field for name, field, _ in settings.fields(Config())}
        return f"config.{match[1]} must be {settings.rule(fields[match[1]])}, got {match[2]!r}"
    if message.startswith("flag --config="):  # the last line of a traceback has the message
        last = message.strip().splitlines()[-1]
        return last.removeprefix(OURS) if last.startswith(OURS) else f"--config: {last}"
    return " ".join(message.removeprefix("ERROR:: ").split())


def _print_help(values: flags.FlagValues) -> None:
    main = sys.modules["__main__"]
    print(f"{(main.__doc__ or '').strip()}\n\nFlags:")
    for flag in values.get_flags_for_module(main.__name__):
        print(f"  --{flag.name}={flag.default_as_str or ''}\n      {flag.help}")
    if "config" in values:
        print(f"  --config=\n      {values['config'].help}\n\nSettings of this config:")
        print(settings.describe(cast(Config, values["config"].value)))
