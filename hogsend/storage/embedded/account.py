"""Who runs the servers. Postgres refuses root, so under root both run as `nobody`."""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from hogsend.storage.embedded.errors import EmbeddedError


@dataclass(frozen=True)
class Account:
    """A user the servers are switched to before they start."""

    name: str
    uid: int
    gid: int

    def may_enter(self, directory: Path) -> bool:
        """Whether this account can reach what lies inside `directory`, by its permission bits."""
        info = directory.stat()
        if info.st_uid == self.uid:
            return bool(info.st_mode & stat.S_IXUSR)
        if info.st_gid == self.gid:
            return bool(info.st_mode & stat.S_IXGRP)
        return bool(info.st_mode & stat.S_IXOTH)

    def may_read(self, file: Path) -> bool:
        """Whether everybody, this account with them, can read `file`."""
        return bool(file.stat().st_mode & stat.S_IROTH)


def server_account() -> Account | None:
    """`nobody` when this process is root; None when the servers run as who we are. Raises `EmbeddedError`."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedError(
            "Postgres refuses to run as root and this machine has no user `nobody`."
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
