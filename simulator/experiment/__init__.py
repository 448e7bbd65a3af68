"""Experiment: what is played, what was seen, and what it means."""
