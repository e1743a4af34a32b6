"""Memory that a step frees is kept for the next one.

The decision: a step on a CPU asks for the same hundreds of megabytes each time. glibc gives blocks of that size back to
the system when they are freed, and each page that comes anew costs a fault and is filled with zeros first. A process
that trains tells it to keep them, the largest ones too (logits, the gradient of an output matrix: at most 32 MiB may a
block have that is cut from kept memory, unless no block may come from the system by itself): the peak is the same,
since it is reached again at once. It is told just before the first step: what loading and measuring held for a moment
still goes back, and the optimizer's state is not cut from what steps share (0.2 GB less at 135M weights).
"""

import ctypes
import sys

# malloc.h of glibc; see mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_KEPT_BYTES = 2**31 - 1


def keep_freed_memory() -> bool:
    """From now on this process keeps what it frees; False where its C library cannot be told so."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, _KEPT_BYTES))
