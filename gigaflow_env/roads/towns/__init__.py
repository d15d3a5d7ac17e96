"""The town generator: TOML files and random towns to RoadMap."""
