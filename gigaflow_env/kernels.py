"""Kernels of other packages, compiled, kept and announced as the simulator's own are."""

from collections.abc import Callable, Collection
from typing import Any

import numba

from gigaflow_env.jit import SOURCE_HASH
from gigaflow_env.kernel_cache import KernelCache

__all__ = ["compiled"]


def compiled(function: Callable, name: str, fastmath: Collection[str] = ()) -> Callable:
    """A loop over numbers and NumPy arrays as machine code; releases the GIL, and allocates nothing.

    It is compiled at its first call for each kind of arguments, which is said on stderr, and kept on disk. name: one for
    each set of constants that the function encloses; fastmath: what LLVM may assume, as `numba.njit` has it.
    """
    function.__name__ = name  # of which the cache makes a file's name
    options: Any = {"nogil": True, "error_model": "numpy", "_nrt": False, "fastmath": set(fastmath)}
    made: Any = numba.njit(function, **options)
    made._cache = KernelCache(function, SOURCE_HASH)
    return made
