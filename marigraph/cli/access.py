"""``marigraph keys ...`` and ``marigraph users ...``: who may use a server on this database."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from domain.access import ROLES
from domain.config import parse_duration_ms
from domain.errors import BadRequest
from marigraph import history, queries
from marigraph.access import STREAM, AccessControl, key_resource, user_resource
from marigraph.cli.output import moment, print_answer, print_json, print_table, say
from marigraph.cli.results import print_events
from marigraph.cli.session import Json, session_of

keys = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys of servers on this database.")
users = typer.Typer(no_args_is_help=True, help="Create, list and delete users of servers on this database.")

Roles = Annotated[list[str], typer.Option("--role", help=f"One of {', '.join(ROLES)}; may be given repeatedly.")]
UserName = Annotated[str, typer.Argument(help="Name of the user.", metavar="NAME")]


@contextmanager
def _control(context: typer.Context) -> Iterator[AccessControl]:
    with session_of(context).application() as application:
        yield AccessControl(application.store, application.now_ms)


@keys.command("create", epilog="Example: `marigraph keys create shipper --role machine_learning_admin --expires 90d`")
def create_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the key is for.", metavar="NAME")],
    role: Roles,
    expires: Annotated[str | None, typer.Option("--expires", help="How long it is good, like 90d.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it, this once: only what it is checked against is stored."""
    with _control(context) as control:
        now_ms = session_of(context).now_ms()
        until = None if expires is None else now_ms + parse_duration_ms(expires, "expires")
        key, made = control.create_key(name, tuple(role), session_of(context).context, until)
    if as_json:
        secret = {"api_key": made.secret, "encoded": made.encoded}
        print_json({**key_resource(key, now_ms), **secret})
        return
    say(f"made key {key.key_id} ({key.name}); it is shown this once:")
    say(f"Authorization: ApiKey {made.encoded}")


@keys.command("list")
def list_keys(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Revoked and expired ones too.")] = False,
    as_json: Json = False,
) -> None:
    """List keys; their secrets are not known to anybody here."""
    with _control(context) as control:
        now_ms = session_of(context).now_ms()
        found = [key_resource(key, now_ms) for key in control.access.keys.values()]
    shown = [each for each in found if every or not each["invalidated"]]
    if as_json:
        print_json({"count": len(shown), "api_keys": shown})
        return
    rows = [
        (
            each["id"],
            each["name"],
            ", ".join(each["roles"]),
            moment(each["creation"]),
            moment(each.get("expiration")),
            "no" if each["invalidated"] else "yes",
        )
        for each in shown
    ]
    print_table(("key", "name", "roles", "made", "expires", "usable"), rows)


@keys.command("revoke")
def revoke_key(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(help="Id of the key.", metavar="KEY")],
    as_json: Json = False,
) -> None:
    """Make a key useless, on running servers too, within a second."""
    with _control(context) as control:
        control.revoke_key(key_id, session_of(context).context)
    print_answer({"invalidated_api_keys": [key_id]}, f"revoked key {key_id}", as_json)


@keys.command("history")
def list_history(context: typer.Context, as_json: Json = False) -> None:
    """List what happened to keys and users, when, and on whose order."""
    with session_of(context).application() as application:
        found = history.get_stream(application, STREAM, page=queries.Page(every=True))
    if as_json:
        print_json(found)
    else:
        print_events(found["events"])


@users.command("create", epilog="Example: `marigraph users create alice --role machine_learning_user`")
def create_user(context: typer.Context, name: UserName, role: Roles, as_json: Json = False) -> None:
    """Make a user; the password is asked for, or read from standard input."""
    with _control(context) as control:
        user = control.create_user(name, _read_password(), tuple(role), session_of(context).context)
    print_answer(user_resource(user), f"made user {name}", as_json)


@users.command("password")
def change_password(context: typer.Context, name: UserName, as_json: Json = False) -> None:
    """Give a user another password; it is asked for, or read from standard input."""
    with _control(context) as control:
        control.change_password(name, _read_password(), session_of(context).context)
    print_answer({"changed": True}, f"changed the password of {name}", as_json)


@users.command("list")
def list_users(context: typer.Context, as_json: Json = False) -> None:
    """List users."""
    with _control(context) as control:
        found = [user_resource(user) for user in control.access.users.values()]
    if as_json:
        print_json({"count": len(found), "users": found})
        return
    rows = [(each["username"], ", ".join(each["roles"]), moment(each["creation"])) for each in found]
    print_table(("user", "roles", "made"), rows)


@users.command("delete")
def delete_user(context: typer.Context, name: UserName, as_json: Json = False) -> None:
    """Remove a user, on running servers too, within a second."""
    with _control(context) as control:
        control.delete_user(name, session_of(context).context)
    print_answer({"found": True}, f"deleted user {name}", as_json)


def _read_password() -> str:
    """Ask for a password twice, or take the first line of standard input where nobody can be asked."""
    if sys.stdin.isatty():
        asked: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return asked
    line = sys.stdin.readline(4_096).rstrip("\r\n")
    if not line:
        msg = "give the password on standard input"
        raise BadRequest(msg)
    return line
