"""Memory that is freed stays with the process, ready to be used again.

A block's largest results have tens of megabytes. The C library gets such pieces from the kernel each time, which hands
them out as pages of zeros: a tenth of the time of a picture went into making those.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""From glibc's malloc.h."""
NEVER = -1


def keep_freed_memory() -> bool:
    """For the whole process, from now on. Whether the C library knows how."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
