"""What-if: the stored records of a job under another configuration, beside what the job itself made of them.

Start at ``trial.py`` (one run); ``changes.py`` says what is different, ``source.py`` how the log is read then,
``runs.py`` where results are kept, ``comparison.py`` what the difference is.
"""
