"""Silence where transformers talks.

The decision: what a user reads is ours to write. transformers' bars and warnings about loading describe its own
machinery; what of it matters is checked by us and raised as an error.
"""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no warnings of transformers inside the block; both are as before after it."""
    from transformers.utils import logging  # takes seconds, and much that is asked of a model needs none of it

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
