"""Jobs, events, records and the model: pure code that does no I/O and reads no clock.

It imports neither ``eventstore`` nor ``marigraph``. Start reading at ``domain/job.py`` (decide and evolve),
then ``domain/model/``.
"""

OWNER = "marigraph"  # lets start-up notice that another distribution's ``domain`` was imported instead
