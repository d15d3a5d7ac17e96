"""Rule-based drivers."""
