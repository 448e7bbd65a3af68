"""Runtimes: what runs the members of a world: Trio in virtual time, or the kernel. See base.py for what they share."""
