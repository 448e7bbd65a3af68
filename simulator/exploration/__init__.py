"""Exploration: all schedules of small plans, within bounds. Start at `explorer.explore`."""
