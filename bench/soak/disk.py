"""A disk of our own that can lose power: an ext4 file system in a file, on a loop device. Needs root."""

import fcntl
import os
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

EXT4_IOC_SHUTDOWN = 0x8004587D
"""_IOR('X', 125, __u32)."""

NO_LOG_FLUSH = 2
"""EXT4_GOING_FLAGS_NOLOGFLUSH: nothing that is only in memory reaches the disk, the journal included."""

SIZE = "1G"
PATIENCE_SECONDS = 30.0


class NoDisk(Exception):
    """This machine does not let us have such a disk; the message says why."""


@dataclass(frozen=True, slots=True)
class Disk:
    image: Path
    mount_point: Path

    @staticmethod
    def make(folder: Path) -> "Disk":
        """A new one, mounted. Raises `NoDisk`."""
        disk = Disk(folder / "disk.img", folder / "disk")
        disk.mount_point.mkdir()
        command("truncate", "-s", SIZE, str(disk.image))
        command("mkfs.ext4", "-q", str(disk.image))
        disk.mount()
        return disk

    def mount(self) -> None:
        command("mount", "-o", "loop", str(self.image), str(self.mount_point))

    def lose_power(self) -> None:
        """From now on nothing is written, and every call that would write fails. Raises `NoDisk`."""
        descriptor = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        except OSError as error:
            raise NoDisk(f"the shutdown of a file system is not permitted: {error}") from error
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        """As soon as nobody uses it any more. Raises `NoDisk` when that does not come to pass."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return command("umount", str(self.mount_point))
            except NoDisk:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def require_power_cuts(folder: Path) -> None:
    """Try all of it once. Raises `NoDisk` where one part is not permitted."""
    disk = Disk.make(folder)
    try:
        disk.lose_power()
    finally:
        disk.unmount()
        disk.image.unlink()
        disk.mount_point.rmdir()


def command(*words: str) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NoDisk(f"there is no {words[0]} here") from None
    if done.returncode:
        raise NoDisk(done.stderr.strip().partition("\n")[0] or f"{words[0]} failed")
