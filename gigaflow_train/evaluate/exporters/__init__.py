"""What other benchmarks take: files of trajectories, and a checkpoint as a driver of their simulators.

Thin and optional: nothing here imports Waymax, the Waymo Open Dataset, nuplan-devkit or CARLA but the two drivers, which are
imported by their programs. They are tested with stubs of the interfaces, not with the programs themselves.
"""
