"""Datafeeds at work: their read model, the commands and queries on them, and the runs that search and post.

``handlers.py`` is the map of what can be done to a datafeed; ``running.py`` is one run, step by step; ``runs.py`` keeps
all runs of a server. What a datafeed is, is in ``domain/datafeeds``; where records come from, in ``marigraph/sources``.
"""
