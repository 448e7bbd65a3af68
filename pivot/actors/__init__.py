"""Actors: they run behaviours. See core.py for the rules of a batch, member.py for the wiring, tasks.py for Trio."""
