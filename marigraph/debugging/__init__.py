"""Debugging by replay: go through a job's log event by event, compare two of its states, find when something began.

``debugger.py`` is the replay that stops wherever one likes; ``expressions.py`` says until when, over the names of
``scope.py``; ``bisection.py`` and ``difference.py`` are built on it. All of it reads, and changes nothing of the job.
"""
