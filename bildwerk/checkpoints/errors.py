"""What can go wrong with a model's files, said for the person at the command line."""


class CheckpointError(Exception):
    """One clear sentence, with what to do about it."""
