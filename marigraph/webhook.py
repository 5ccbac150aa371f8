"""One post to a webhook: signed, bounded in time, and never to a private address unless the server allows it.

The host is resolved once, every address is looked at, and the connection goes to the address that was looked at, so a
name that answers differently the second time gains nothing. Redirects are followed a few times, with the same look.
"""

import hashlib
import hmac
import ipaddress
import socket
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx

from marigraph import __version__

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 10.0
REDIRECTS_MAX: Final = 3
KEPT: Final = (307, 308)
"""Redirects that stay a post (RFC 9110, 15.4); others would make it a GET and are failures."""

SIGNATURE_HEADER: Final = "X-Marigraph-Signature"
DELIVERY_HEADER: Final = "X-Marigraph-Delivery"


class NotDelivered(Exception):
    """The receiver did not take it; the message says why, without what was sent."""


def sign(secret: bytes, body: bytes, seconds: int) -> str:
    """Return the signature of a body: HMAC-SHA256 (RFC 2104) over the time, a dot and the body.

    >>> sign(b"secret", b"{}", 1)
    't=1,v1=1122767b193110cfec322b6f199b599edbf608ed087f2d27afb0b97d99523908'
    """
    return f"t={seconds},v1={hmac.new(secret, f'{seconds}.'.encode() + body, hashlib.sha256).hexdigest()}"


def post(url: str, body: bytes, delivery_id: str, secret: bytes | None, *, allows_private: bool = False) -> None:
    """Post a body; NotDelivered unless the receiver answers with a status of success.

    Parameters
    ----------
    delivery_id : str
        The same each time the same is sent, so that a receiver can tell.
    secret : bytes or None
        None: the post is not signed.
    allows_private : bool
        Whether addresses that only exist near this machine are allowed.
    """
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"marigraph/{__version__}",
        DELIVERY_HEADER: delivery_id,
    }
    if secret is not None:
        headers[SIGNATURE_HEADER] = sign(secret, body, int(time.time()))
    timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    deadline = time.monotonic() + CONNECT_SECONDS + ANSWER_SECONDS
    # Proxies of the environment would make the connection in our place, to addresses nobody looked at.
    with httpx.Client(trust_env=False, follow_redirects=False, timeout=timeout) as client:
        for _ in range(REDIRECTS_MAX + 1):
            status, location = _post_once(client, url, body, headers, allows_private=allows_private)
            if 200 <= status < 300:
                return
            if status not in KEPT or location is None or time.monotonic() > deadline:
                msg = f"the receiver answered {status}"
                raise NotDelivered(msg)
            url = _redirected(url, location)
    msg = f"more than {REDIRECTS_MAX} redirects"
    raise NotDelivered(msg)


def _post_once(
    client: httpx.Client, url: str, body: bytes, headers: Mapping[str, str], *, allows_private: bool
) -> tuple[int, str | None]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = checked_address(parts.hostname or "", port, allows_private=allows_private)
    target = parts._replace(netloc=f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
    sent = {**headers, "Host": _host_header(parts)}
    extensions: dict[str, Any] = {"sni_hostname": parts.hostname}
    try:
        with client.stream(
            "POST", target.geturl(), content=body, headers=sent, extensions=extensions
        ) as response:  # what the receiver says is not read: it may be without end
            return response.status_code, response.headers.get("location")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        msg = f"the receiver cannot be reached: {type(error).__name__}"
        raise NotDelivered(msg) from error


def checked_address(host: str, port: int, *, allows_private: bool) -> str:
    """Resolve a host; NotDelivered if it has no address, or one that is not for everybody."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        msg = f"the receiver's name [{host}] has no address"
        raise NotDelivered(msg) from error
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    if not allows_private:
        for address in addresses:
            if not is_public(address):
                msg = (
                    f"the receiver [{host}] has the private address {address}; "
                    "the server allows such ones with MARIGRAPH_NOTIFY_PRIVATE=true"
                )
                raise NotDelivered(msg)
    return addresses[0]


def is_public(address: str) -> bool:
    """Tell whether an address means the same everywhere; one that hides another is judged by it.

    >>> [is_public(each) for each in ("93.184.216.34", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "fd00::1")]
    [True, False, False, False, False]
    """
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if inner is not None:
            return is_public(str(inner))
    return parsed.is_global and not parsed.is_multicast


def _host_header(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _redirected(url: str, location: str) -> str:
    target = urljoin(url, location)
    parts = urlsplit(target)
    if parts.scheme != "https" and not (parts.scheme == "http" and urlsplit(url).scheme == "http"):
        msg = f"the receiver redirects to {parts.scheme or 'nothing'}"
        raise NotDelivered(msg)
    return target
