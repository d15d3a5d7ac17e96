"""Road maps: readable source, importers, the town generator and the compiler to kernel tables."""
