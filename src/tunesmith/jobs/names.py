"""Names of the things that the service keeps: random, unguessable, and ours.

The decision: what a client sends (a file's name, a suffix) is displayed and never becomes a path or an identifier.
"""

import re
import secrets
import string

_LETTERS = string.ascii_letters + string.digits
ORGANIZATION = "tunesmith"


def new_id(kind: str, length: int = 24) -> str:
    """A fresh identifier: `file-…`, `ftjob-…`, `ftevent-…`.

    >>> new_id("file")[:5]
    'file-'
    """
    return f"{kind}-{random_text(length)}"


def random_text(length: int) -> str:
    """Letters and digits that nobody can guess; 24 of them carry 142 bits."""
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def model_name(base: str, suffix: str | None, job: str) -> str:
    """The name of a job's model, as users of the API know it; one tuned further keeps its first base's name.

    >>> model_name("smollm2", "My support", "ftjob-abcdefghijkl")
    'ft:smollm2:tunesmith:my-support:abcdefgh'
    """
    plain = re.sub(r"[^a-z0-9]+", "-", (suffix or "").lower()).strip("-")
    root = base.split(":")[1] if base.startswith("ft:") else base
    return f"ft:{root}:{ORGANIZATION}:{plain}:{job.partition('-')[2][:8]}"


def checkpoint_name(model: str, step: int) -> str:
    """The name under which the weights after `step` answer."""
    return f"{model}:ckpt-step-{step}"
