"""Memory that maps a file, given back to the system once what lies there was copied."""

import ctypes
import ctypes.util
import mmap
import sys
from pathlib import Path

from torch import Tensor

MAPS = Path("/proc/self/maps")


def release(tensor: Tensor) -> bool:
    """Let go of the whole pages of a contiguous tensor; when somebody reads it again they come from the file.

    For tensors that nobody writes to. False, and nothing is done, where they do not lie in the mapping of a file: other
    memory would be zeros afterwards.
    """
    begin = _rounded_up(tensor.data_ptr())
    end = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if sys.platform != "linux" or begin >= end or not _maps_a_file(begin, end):
        return False
    libc = ctypes.CDLL(ctypes.util.find_library("c"))
    return libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED) == 0


def _rounded_up(address: int) -> int:
    return -(-address // mmap.PAGESIZE) * mmap.PAGESIZE


def _maps_a_file(begin: int, end: int) -> bool:
    """A line is: begin-end permissions offset device inode path."""
    for line in MAPS.read_text().splitlines():
        first, last = (int(address, 16) for address in line.split(maxsplit=1)[0].split("-"))
        if first <= begin and end <= last:
            _, _, _, _, inode, *path = line.split(maxsplit=5)
            return inode != "0" and "".join(path).startswith("/")
    return False
