"""Optimizers, learning rate schedules, parameter averaging and frozen parameters."""
