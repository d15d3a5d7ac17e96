"""How well a policy drives: counts, rates with intervals, and the policies to compare with."""
