"""Actors: run behaviours on Trio. See core.py for the rules of a batch, member.py for how a member is wired."""
