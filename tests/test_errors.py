"""Messages about unknown names, and what the errors of a run are."""

import pytest

from jaxml.errors import DivergedError, InputError, JaxmlError, choose, nearest


def test_choose_returns_the_entry_of_that_name():
    table = {"sgd": "descends", "adamw": "adapts"}
    assert choose(table, "adamw", "config.optimizer.name") == "adapts"


def test_choose_names_the_setting_the_choices_and_the_nearest_one():
    with pytest.raises(InputError) as error:
        choose({"sgd": 1, "adamw": 2}, "adanw", "config.optimizer.name")
    assert str(error.value) == (
        "config.optimizer.name must be one of sgd, adamw, got 'adanw'; did you mean 'adamw'?"
    )


def test_choose_suggests_nothing_for_a_name_that_resembles_none():
    with pytest.raises(InputError) as error:
        choose({"sgd": 1, "adamw": 2}, "xyz", "config.optimizer.name")
    assert str(error.value) == "config.optimizer.name must be one of sgd, adamw, got 'xyz'"


def test_choose_keeps_its_message_on_one_line_whatever_the_name():
    with pytest.raises(InputError) as error:
        choose({"sgd": 1}, "sgd\nadamw\x1b[31m", "config.optimizer.name")
    assert str(error.value).isprintable()


def test_choose_finds_entries_that_are_false():
    assert choose({"off": 0}, "off", "config.x") == 0


def test_nearest_suggests_the_most_similar_of_several():
    known = ["config.seed", "config.speed", "config.batch_size"]
    assert nearest("config.sped", known) == "; did you mean 'config.speed'?"


def test_nearest_is_empty_when_nothing_is_similar_or_known():
    assert nearest("zzz", ["config.seed"]) == ""
    assert nearest("config.seed", []) == ""


def test_nearest_accepts_names_that_can_be_read_only_once():
    assert nearest("adan", (name for name in ("sgd", "adam"))) == "; did you mean 'adam'?"


def test_a_wrong_input_is_a_value_error_and_a_diverged_run_is_not():
    assert issubclass(InputError, JaxmlError)
    assert issubclass(InputError, ValueError)
    assert issubclass(DivergedError, JaxmlError)
    assert not issubclass(DivergedError, ValueError)
