"""Audit queries: what happened on the log, on whose order, and how things stood; functions over an application.

They read the views that people may query by themselves (``views.py``), bounded by a job or a time (``scope.py``), and
never the whole table of events. Jobs that were deleted are answered for like all others.
"""
