"""Transport: carries envelopes between members. See base.py for the contract."""
