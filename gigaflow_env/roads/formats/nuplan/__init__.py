"""nuPlan maps (*.gpkg)."""
