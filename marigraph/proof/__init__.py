"""Proof that nothing was changed: verification of the log, seals over it, and exports that others can verify.

The checks themselves are the event store's (``eventstore/verify.py``); here is what they need to know of jobs, where
keys lie, and what people are told.
"""
