"""Numbers that several importers share."""

POINT_SPACING = 0.5
"""[m] distance of the points of a lane, to which its center line is fitted."""
MIN_LENGTH = 0.05
"""[m] Shorter polylines make no lane: what it links is linked directly."""
MIN_WIDTH = 0.1
"""[m] Ours: narrower parts at the ends of a lane are cut off, they'd give degenerate quads."""
MAX_POINTS = 100_000
"""Of a line. Ours: a bound has some thousand points at most; reading a point of a file takes microseconds."""
MAX_COORDINATE = 1e8
"""[m] Ours: farther from the origin than any projection of the earth leads a coordinate is a mistake."""
MEETING = 0.001
"""[m] Ends of linked lanes are so near to each other."""
BACK = ".back"
"""Ends the id of a lane for travel against the direction that its element has in the file."""
