"""Server: what users of a member see over HTTP."""
