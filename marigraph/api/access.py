"""Who may call an endpoint: the check of each request's credentials and privilege, and how refusals are worded."""

import ipaddress
from collections.abc import Collection
from typing import Any, Final
from urllib.parse import urlsplit

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import Request

from domain.access import ROLES
from marigraph.access import AccessControl, Principal, TooManyFailures, WrongCredentials
from marigraph.api.endpoints import Endpoint
from marigraph.api.errors import HttpError

CHALLENGES: Final = ('Basic realm="security" charset="UTF-8"', "ApiKey")

LOGIN_THREADS: Final = 4
"""Checks of credentials at once: a password takes 32 MB and a core for a while."""

ANONYMOUS: Final = Principal("anonymous", "anonymous", tuple(ROLES))
"""Everybody, where no credentials are asked for."""

ACTIONS: Final = {
    "ping": "cluster:monitor/main",
    "info": "cluster:monitor/xpack/ml/info/get",
    "put_job": "cluster:admin/xpack/ml/job/put",
    "open_job": "cluster:admin/xpack/ml/job/open",
    "post_data": "cluster:admin/xpack/ml/job/data/post",
    "flush_job": "cluster:admin/xpack/ml/job/flush",
    "close_job": "cluster:admin/xpack/ml/job/close",
    "update_job": "cluster:admin/xpack/ml/job/update",
    "delete_job": "cluster:admin/xpack/ml/job/delete",
    "validate": "cluster:admin/xpack/ml/job/validate",
    "validate_detector": "cluster:admin/xpack/ml/job/validate/detector",
    "get_jobs": "cluster:monitor/xpack/ml/job/get",
    "get_job_stats": "cluster:monitor/xpack/ml/job/stats/get",
    "get_buckets": "cluster:monitor/xpack/ml/job/results/buckets/get",
    "get_records": "cluster:monitor/xpack/ml/job/results/records/get",
    "get_influencers": "cluster:monitor/xpack/ml/job/results/influencers/get",
    "get_categories": "cluster:monitor/xpack/ml/job/results/categories/get",
    "get_overall_buckets": "cluster:monitor/xpack/ml/job/results/overall_buckets/get",
    "get_model_snapshots": "cluster:monitor/xpack/ml/job/model_snapshots/get",
    "update_model_snapshot": "cluster:admin/xpack/ml/job/model_snapshots/update",
    "revert_model_snapshot": "cluster:admin/xpack/ml/job/model_snapshots/revert",
    "delete_model_snapshot": "cluster:admin/xpack/ml/job/model_snapshots/delete",
    "put_datafeed": "cluster:admin/xpack/ml/datafeeds/put",
    "update_datafeed": "cluster:admin/xpack/ml/datafeeds/update",
    "delete_datafeed": "cluster:admin/xpack/ml/datafeeds/delete",
    "start_datafeed": "cluster:admin/xpack/ml/datafeed/start",
    "stop_datafeed": "cluster:admin/xpack/ml/datafeed/stop",
    "preview_datafeed": "cluster:admin/xpack/ml/datafeeds/preview",
    "get_datafeeds": "cluster:monitor/xpack/ml/datafeeds/get",
    "get_datafeed_stats": "cluster:monitor/xpack/ml/datafeeds/stats/get",
}
"""What the API calls the operations in its refusals."""

GRANTED_BY: Final = {
    "manage_ml": "manage_ml",
    "monitor_ml": "monitor_ml,manage_ml",
    "read_history": "read_history",
}


class Gate:
    """Admits requests.

    Parameters
    ----------
    control : AccessControl or None
        None: everybody may do everything, and credentials that come all the same are not looked at.
    names : collection of str or None
        What the server may be called by who need not say who he is, besides the addresses of this machine: a page of
        another site can have its own name lead here, and then read the answers. None: anything.
    """

    def __init__(self, control: AccessControl | None, names: Collection[str] | None = None) -> None:
        self._control = control
        self._names = names
        self._limiter = CapacityLimiter(LOGIN_THREADS)

    async def admit(self, endpoint: Endpoint, request: Request) -> Principal:
        """Return who calls; HttpError 401, 403 or 429 if the caller may not."""
        control = self._control
        if endpoint.privilege == "none":
            return ANONYMOUS
        _check_origin(request)
        if control is None:
            self._check_host(request.headers.get("host", ""))
            return ANONYMOUS
        header = request.headers.get("authorization", "").strip()
        if not header:
            msg = "missing authentication credentials"
            raise unauthenticated(msg, request)
        address = request.client.host if request.client is not None else ""
        principal = control.recall(header)
        if principal is None:
            try:
                principal = await anyio.to_thread.run_sync(control.check, header, address, limiter=self._limiter)
            except WrongCredentials as error:
                raise unauthenticated(str(error), request) from None
            except TooManyFailures as error:
                raise HttpError(429, str(error), type="security_exception") from None
        if endpoint.privilege != "any" and not principal.may(endpoint.privilege):
            raise HttpError(403, _missing(endpoint, principal), type="security_exception")
        return principal

    def _check_host(self, host: str) -> None:
        name = name_of(host)
        if self._names is None or not host or name in self._names or is_loopback(name):
            return
        msg = f"[{host[:256]}] is no name of this server; `marigraph serve --allow-host NAME` lets it answer to one"
        raise HttpError(403, msg, type="security_exception")


def name_of(host: str) -> str:
    """Return the name or address in a Host header, in lower case; empty if there is none.

    >>> name_of("Localhost:9200"), name_of("[::1]:9200"), name_of("[")
    ('localhost', '::1', '')
    """
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_origin(request: Request) -> None:
    """Refuse what a page of another site has a browser send: the browser may be on this machine, or be logged in."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        msg = f"requests of pages from another origin [{origin[:256]}] are not answered"
        raise HttpError(403, msg, type="security_exception")


def unauthenticated(reason: str, request: Request) -> HttpError:
    """Return the refusal of a request without credentials that are good."""
    return HttpError(
        401,
        f"{reason} for REST request [{request.url.path}]",
        type="security_exception",
        challenges=CHALLENGES,
    )


def _missing(endpoint: Endpoint, principal: Principal) -> str:
    kind: Any = "admin" if endpoint.privilege == "manage_ml" else "monitor"
    action = ACTIONS.get(endpoint.name, f"cluster:{kind}/marigraph/{endpoint.name}")
    roles = ",".join(sorted(principal.roles))
    return (
        f"action [{action}] is unauthorized for {principal.shown} with roles [{roles}], "
        f"this action is granted by the cluster privileges [{GRANTED_BY[endpoint.privilege]}]"
    )
