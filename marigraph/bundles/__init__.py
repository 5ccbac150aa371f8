"""Bundles: one job in one SQLite file, to be replayed anywhere; with names redacted, if they are nobody's business.

``creating.py`` writes one, ``opening.py`` reads one that came from outside, ``replaying.py`` says whether it gives what
it says. ``manifest.py`` is the form of the file, ``tokens.py`` and ``redaction.py`` are how values become tokens.
"""
