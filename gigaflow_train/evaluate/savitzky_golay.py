"""Smoothing and derivatives by polynomials that are fitted to a few neighbours. Source: A. Savitzky, M. Golay, 1964."""

import numpy as np


def smoothed(values: np.ndarray, window: int, degree: int, *, derivative: int = 0, dt: float = 1.0) -> np.ndarray:
    """The polynomial of each `window` values (n,) in its middle, or a derivative of it; the same as scipy's savgol_filter.

    At both ends it is that of the first and the last `window` values. Shorter series are fitted as a whole; the middle of
    an even window lies between two values, and stands for the earlier one. Raises ValueError where fewer than degree + 1
    values are given.
    """
    window = min(window, len(values))
    if window <= degree:
        raise ValueError(
            f"{len(values)} values, window {window}: a polynomial of degree {degree} needs {degree + 1} at least"
        )
    half, rest = divmod(window, 2)
    middle = float(half) if rest else half - 0.5
    at_middle = np.lib.stride_tricks.sliding_window_view(values, window) @ _weights(window, degree, middle, derivative)
    found = np.empty(len(values))
    found[half : len(values) - half] = at_middle[0 if rest else 1 :][: len(values) - 2 * half]
    for place in range(half):
        found[place] = values[:window] @ _weights(window, degree, float(place), derivative)
        found[-1 - place] = values[-window:] @ _weights(window, degree, window - 1.0 - place, derivative)
    return found / dt**derivative


def _weights(window: int, degree: int, at: float, derivative: int) -> np.ndarray:
    """What each value contributes to the polynomial's derivative at a place in the window."""
    powers = np.arange(degree + 1)
    basis = (np.arange(window)[:, None] - at) ** powers  # around `at`, so that the derivative is one coefficient
    factor = float(np.prod(np.arange(1, derivative + 1)))
    return np.linalg.pinv(basis)[derivative] * factor
