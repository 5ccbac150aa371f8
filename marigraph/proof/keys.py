"""Where the keys of seals lie: a private one in the user's configuration directory unless the settings name another."""

from pathlib import Path
from typing import Final, NamedTuple

import platformdirs

from eventstore.signing import KeyRefused, SigningKey, public_path, read_public_key
from marigraph.settings import Settings

KEY_FILE: Final = "seal-key.pem"


class OwnKey(NamedTuple):
    """The signing key of a process, where it lies, and whether it was made just now."""

    key: SigningKey
    path: Path
    is_new: bool


def key_path(settings: Settings) -> Path:
    """Return where the signing key lies, or would."""
    if settings.seals.key is not None:
        return Path(settings.seals.key).expanduser()
    return Path(platformdirs.user_config_dir("marigraph", appauthor=False)) / KEY_FILE


def signing_key(settings: Settings) -> OwnKey:
    """Return the signing key, made if there is none at the place of default.

    Raises
    ------
    KeyRefused
        The key cannot be used, or the settings name one that is not there.
    """
    path = key_path(settings)
    if path.exists():
        return OwnKey(SigningKey.read(path), path, is_new=False)
    if settings.seals.key is not None:
        msg = f"there is no signing key {path}; make one with `marigraph audit key {path}`"
        raise KeyRefused(msg)
    return OwnKey(make_key(path), path, is_new=True)


def make_key(path: Path) -> SigningKey:
    """Make a key in a new file."""
    key = SigningKey.make()
    key.write(path)
    return key


def own_key_id(settings: Settings) -> str | None:
    """Return the public key of this user, None if there is none yet."""
    path = public_path(key_path(settings))
    return read_public_key(path) if path.exists() else None
