"""The simulation: one concept a file, pure scalar rules on top, one stage at the bottom."""
