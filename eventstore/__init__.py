"""An append-only event log in SQL (SQLite, PostgreSQL) that knows nothing of jobs."""

OWNER = "marigraph"  # lets start-up notice that another distribution's ``eventstore`` was imported instead
