"""Whether draws have the distribution that they should have."""

import math

import numpy as np


def uniform(values, low, high):
    """Kolmogorov-Smirnov at 0.1 %."""
    steps = np.arange(values.size) / values.size
    return abs(np.sort((values.ravel() - low) / (high - low)) - steps).max() * math.sqrt(values.size) < 2.0
