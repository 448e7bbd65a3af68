"""Live: plans played by real processes over real HTTP. See cluster.py and player.py."""
