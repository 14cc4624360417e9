"""What stands at an address, before anything large is fetched: the kind of model, its licence, size and files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import constants, get_session
from huggingface_hub.utils import build_hf_headers

from gen_models.hub.addresses import Address
from gen_models.hub.bringing import brought
from gen_models.hub.contents import MOST_JSON, PICKLES, File, contents, is_plain, is_safe
from gen_models.hub.reach import PATIENCE, Token, checked_token, reach
from gen_models.hub.store import Store, listing
from gen_models.hub.trouble import explained, unreachable

TIMEOUT = (PATIENCE, 10.0, 10.0, 10.0)  # seconds: to connect, read, write, and for a free connection
README = "README.md"


class Look(NamedTuple):
    """What was found: nothing but small JSON files has been read for it."""

    address: Address
    commit: str  # 40 hex digits; "" of a folder
    kind: str  # the class in model_index.json or config.json; "gen_models" for a checkpoint of ours
    files: tuple[File, ...]  # those that are needed, or those to blame where it is refused
    bytes: int  # of all of them
    licence: str  # as its page says; "" where it says nothing
    gated: bool  # one must accept terms before it can be fetched
    small: Path  # the folder with the JSON files that were read
    refused: str = ""  # why it cannot be opened
    private: bool = False


def look(address: Address, *, token: Token = None) -> Look:
    """What stands there. token: None is this machine's own, False is none, which a page for strangers must pass.

    Without the Hub, what was fetched before is found in the cache, gated and private models only by this machine's own
    person. BadInput says what to do about a repository or
    revision that does not exist, is private or gated, or cannot be reached.
    """
    if address.folder:
        return _found(address, "", listing(address.folder), lambda names: address.folder, address.folder)
    token = checked_token(token)
    try:
        return _asked(address, token)
    except Exception as error:
        hidden = token is not None and Store(address.repo).guarded  # nobody can be asked whether it may be shown
        if unreachable(error) and not hidden and (found := kept(address)):
            return found
        raise explained(error, address.repo, address.revision, token) from None


def _asked(address: Address, token: Token) -> Look:
    reach()
    from huggingface_hub import HfApi  # half a second, for those who look alone

    api = HfApi(endpoint=constants.ENDPOINT, token=token)
    info = api.model_info(address.repo, revision=address.revision, files_metadata=True, timeout=TIMEOUT)
    store = Store(address.repo)
    files = {}
    for item in info.siblings or []:
        if is_plain(item.rfilename) and item.size is not None:
            digest = (item.lfs.sha256 if item.lfs else item.blob_id) or ""
            files[item.rfilename] = File(item.rfilename, item.size, is_safe(item.rfilename), digest)

    def read(names: Iterable[str]) -> Path:
        for _ in brought(store, address.repo, info.sha, [files[name] for name in names], token):
            pass
        return store.snapshot(info.sha)

    found = _found(address, info.sha, files, read, store.snapshot(info.sha), info.card_data, bool(info.gated))
    found = found._replace(private=bool(info.private))
    if found.refused and any(file.name.endswith(PICKLES) for file in found.files):
        return found._replace(refused=found.refused + _proposed(address.repo, token))
    return found


def _proposed(repo: str, token: Token) -> str:
    """Where somebody has converted the weights in a change that its authors have not taken up yet; "" nowhere."""
    place = f"{constants.ENDPOINT}/api/models/{repo}/discussions"
    asked = {"params": {"type": "pull_request", "status": "open"}, "headers": build_hf_headers(token=token)}
    with contextlib.suppress(Exception):  # a hint is not worth an error
        for change in get_session().get(place, timeout=TIMEOUT, **asked).json()["discussions"]:
            if "safetensors" in change["title"].lower():
                return f" A proposed change, not by its authors, has them: {repo}@refs/pr/{int(change['num'])}"
    return ""


def kept(address: Address) -> Look | None:
    """What `look` finds of it in the cache, without a network; None where it is not there, or not all of it."""
    store = Store(address.repo)
    commit = store.commit_of(address.revision)
    if not commit:
        return None
    folder = store.snapshot(commit)
    found = _found(address, commit, listing(folder), lambda names: folder, folder)
    return None if found.refused else found


def _found(
    address: Address, commit: str, files: dict[str, File], read: Any, small: Path, card: Any = None, gated: bool = False
) -> Look:
    kind, needed, refused = contents(files, read, local=address.folder is not None)
    if not refused and README in files and files[README].size <= MOST_JSON:
        needed += (files[README],)  # it names the licence where there is no network
    card = card or _card(small / README)
    size = sum(file.size for file in needed)
    return Look(address, commit, kind, needed, size, _licence(card), gated, small, refused)


def _card(readme: Path) -> Any:
    """The metadata of a model card that lies here; None where it has none that can be read."""
    from huggingface_hub import ModelCard

    try:
        return ModelCard.load(readme).data if readme.is_file() else None
    except Exception:  # whatever is wrong with the metadata of a stranger's page, it says nothing then
        return None


def _licence(card: Any) -> str:
    """ "apache-2.0", or a name of its own where the licence is none of the usual ones."""
    found = (getattr(card, "license", None), getattr(card, "license_name", None)) if card else ()
    named = [", ".join(map(str, name)) if isinstance(name, list) else str(name) for name in found if name]
    return named[-1][:100] if named else ""
