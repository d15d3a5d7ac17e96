"""CUDA without a card: the kernels that the CUDA backend compiled run on the CPU, from their PTX.

`translate.py` turns PTX into C, `machine.c` runs it: a fibre a thread, barriers checked, races found, instructions and
memory sectors counted. `driver.c` stands in for the driver. What it does not model: warps in lockstep, the assembler, time.
"""
