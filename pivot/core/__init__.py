"""Core: decides, in pure code. See behaviour.py for the idea; storage, leader, node, health are the four minds."""
