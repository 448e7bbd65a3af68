"""World: what can go wrong, and the one heap on which everything happens."""
