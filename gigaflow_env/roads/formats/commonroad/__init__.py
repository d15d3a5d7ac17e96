"""CommonRoad (*.xml)."""
