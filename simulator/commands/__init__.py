"""Commands: what `pivot sim` does; one file per command that has much to say."""
