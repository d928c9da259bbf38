"""Failures that a user can act on: one whole sentence each, and the exit code that goes with them."""


class TrainerError(Exception):
    """Something the trainer cannot go on with (exit code 1); the message says what, where, and what to do."""

    exit_code = 1


class NotFiniteError(TrainerError):
    """Loss or gradients are no numbers any more: a step would spoil the weights, and every checkpoint after it."""


class UsageError(TrainerError):
    """A command line or a configuration that can never work (exit code 2, as argparse uses)."""

    exit_code = 2
