"""Peers of the original: its protocol "2.0", translated to and from our own messages. Start at `objects`."""
