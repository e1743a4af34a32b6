"""Which folder of weights a RUN or MODEL on the command line means; what a run was taken to mean is said aloud."""

import sys
from pathlib import Path


def weights_folder(name: str) -> Path:
    """The best, else the last weights of a run, or the folder of a model, fetched if it is not here yet."""
    from tunesmith.models.sources import resolve
    from tunesmith.run.folder import is_started, weights_of

    if not is_started(Path(name)):
        return resolve(name).folder
    folder, meaning = weights_of(Path(name))
    print(f"Using {meaning}.", file=sys.stderr)
    return folder
