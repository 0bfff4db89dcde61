"""What can stop a local run."""


class LocalError(Exception):
    """The run cannot go on; the message is one sentence that says why, and what to do."""
