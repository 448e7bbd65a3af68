"""Pivot keeps many servers' state in step."""
