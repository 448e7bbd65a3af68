"""Engine: keeps what storage decided. See base.py for the contract."""
