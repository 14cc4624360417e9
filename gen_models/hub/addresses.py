"""Where a model lies: a repository of the Hugging Face Hub at a revision, or a folder of this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from gen_models.interface import BadInput

MAIN = "main"
SITE = "https://huggingface.co/"
_NAME = r"\w(?:[\w.-]{0,94}\w)?"
_REPO = re.compile(rf"{_NAME}/{_NAME}", re.ASCII)
_REVISION = re.compile(r"\w[\w./-]{0,99}", re.ASCII)
_WANTED = "Give owner/name or owner/name@revision, as in google/ddpm-cifar10-32"


class Address(NamedTuple):
    """A repository at a branch, tag or commit; or a folder, and then there is no revision."""

    repo: str  # "owner/name"; of a folder its name
    revision: str
    folder: Path | None = None

    def __str__(self) -> str:
        if self.folder:
            return str(self.folder)
        return self.repo if self.revision == MAIN else f"{self.repo}@{self.revision}"


def address(text: str, local: bool = True) -> Address:
    """What a person typed: "owner/name", "owner/name@revision", the repository's page on the Hub, or a folder.

    local: folders that exist come first; without it there are none, as it must be for what arrives over a network.
    BadInput for everything else: another site, another kind of repository, a path that climbs.
    """
    text = str(text).strip()
    if local and text and (folder := _folder(text)):
        return Address(folder.name, "", folder)
    named = _from_page(text) if "://" in text else text
    repo, _, revision = named.partition("@")
    if not _REPO.fullmatch(repo) or ".." in repo or "--" in repo or repo.endswith(".git"):
        folder = ", or a folder of this machine" if local else ""
        raise BadInput(f"{text[:120]!r} is no repository of the Hugging Face Hub. {_WANTED}{folder}.")
    revision = revision or MAIN
    if not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision or revision.endswith("/"):
        raise BadInput(f"{revision[:120]!r} is no revision: give a branch, a tag or a commit, or leave it out.")
    return Address(repo, revision)


def _folder(text: str) -> Path | None:
    try:
        folder = Path(text).expanduser()
        return folder.resolve() if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):  # a name too long, no home folder, a zero byte
        return None


def _from_page(text: str) -> str:
    """ "owner/name@revision" of a page of the Hub."""
    if not text.startswith(SITE):
        raise BadInput(f"{text[:120]!r} does not lie on {SITE}, and nothing is fetched from elsewhere. {_WANTED}.")
    parts = text.removeprefix(SITE).rstrip("/").split("/")
    if parts[0] in ("datasets", "spaces"):
        raise BadInput(f"{text[:120]!r} is a page of {parts[0]}, not of a model. {_WANTED}.")
    if len(parts) == 2:
        return "/".join(parts)
    if len(parts) >= 4 and parts[2] == "tree":
        return f"{parts[0]}/{parts[1]}@{'/'.join(parts[3:])}"
    raise BadInput(f"{text[:120]!r} is not the page of a model. {_WANTED}.")
