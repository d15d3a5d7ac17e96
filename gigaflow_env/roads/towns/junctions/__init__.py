"""The kinds of nodes of a town, one a file: `clearances` and `build`."""
