"""RoadMap to the tables which the kernels read, and their cache on disk."""
