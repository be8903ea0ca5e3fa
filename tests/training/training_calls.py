"""Intervenes in the training calls of a run."""

import dataclasses

from jaxml.training import loop


def before_each(monkeypatch, change):
    """Replaces the state before every training call by `change(state, num_steps)`."""
    _wrap(monkeypatch, before=change)


def after_each(monkeypatch, act):
    """Calls `act(state, num_steps)` after every training call."""
    _wrap(monkeypatch, after=act)


def after(monkeypatch, calls, act):
    """Calls `act()` once, after a number of training calls."""
    made = []

    def count(state, num_steps):
        made.append(num_steps)
        if len(made) == calls:
            act()

    after_each(monkeypatch, count)


def _wrap(monkeypatch, *, before=lambda state, _: state, after=lambda *_: None):
    compile_steps = loop.compile_steps

    def wrapped(function, num_steps):
        def train(state, *arguments):
            state, *others = function(before(state, num_steps), *arguments)
            after(state, num_steps)
            return state, *others

        return train

    def compile_wrapped(*arguments, **options):
        steps = compile_steps(*arguments, **options)
        train = {call: wrapped(step, call.num_steps) for call, step in steps.train.items()}
        return dataclasses.replace(steps, train=train)

    monkeypatch.setattr(loop, "compile_steps", compile_wrapped)
