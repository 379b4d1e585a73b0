"""The names of files that can run code when they are loaded, which are never read, fetched or taken in."""

UNSAFE_SUFFIXES = frozenset({".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle"})
