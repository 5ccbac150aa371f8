"""The HTTP API: the endpoints of Elastic's anomaly-detection jobs, over the handlers and queries of the application.

``endpoints.py`` is the table of all endpoints, ``web.py`` makes a web application of it, ``server.py`` serves that.
Statuses and error bodies are in ``errors.py``; nothing outside of this package knows HTTP.
"""
