"""What went wrong with the Hub, in a sentence that says what to do; never with a token or an address that holds one."""

from __future__ import annotations

import errno

import httpx2
from huggingface_hub import constants, errors

from gen_models.hub.addresses import SITE
from gen_models.interface import BadInput

LOG_IN = "log in with `hf auth login`, set HF_TOKEN, or give a token"
TOKENS = f"{SITE}settings/tokens"


def unreachable(error: Exception) -> bool:
    """The Hub did not answer, or answers that it cannot for now: what is in the cache must do."""
    if isinstance(error, errors.HfHubHTTPError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, errors.OfflineModeIsEnabled | httpx2.TransportError)


def explained(error: Exception, repo: str, revision: str = "", token: object = None) -> Exception:
    """The error as BadInput where a person can do something about it, else as it is.

    token: whether one was given changes the advice; it is never part of the words.
    """
    if isinstance(error, BadInput):
        return error
    if isinstance(error, errors.OfflineModeIsEnabled):
        return BadInput(
            f"{repo} is not on this machine, and HF_HUB_OFFLINE forbids to fetch it. Unset that, or fetch it once "
            f"where there is network: hf download {repo}"
        )
    if isinstance(error, errors.LocalTokenNotFoundError):
        return BadInput(f"The Hub must know who you are: {LOG_IN} of {TOKENS}.")
    if isinstance(error, errors.HfHubHTTPError):
        return BadInput(_refusal(error, repo, revision, token))
    if isinstance(error, httpx2.TransportError):
        return BadInput(
            f"{repo} is not on this machine, and {_host()} cannot be reached ({type(error).__name__}). Check the "
            "network, a proxy, or HF_ENDPOINT if it is set; models that were fetched before still open."
        )
    if isinstance(error, OSError):
        return BadInput(_disk(error))
    return error


def _host() -> str:
    return httpx2.URL(constants.ENDPOINT).host


def _refusal(error: errors.HfHubHTTPError, repo: str, revision: str, token: object) -> str:
    status = error.response.status_code
    if isinstance(error, errors.GatedRepoError):
        if token or status == 403:
            return (
                f"{repo} is gated, and this token's account may not fetch it yet. Accept its terms at {SITE}{repo} "
                "with that account, wait until they let you in, and try again."
            )
        return f"{repo} is gated: accept its terms at {SITE}{repo}, then {LOG_IN} of {TOKENS}."
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo} has no revision {revision!r}; leave it out for the newest, or see {SITE}{repo}/commits/main"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"A file of {repo} is no longer there; look at it again."
    if isinstance(error, errors.DisabledRepoError):
        return f"{repo} was disabled on the Hub; choose another model."
    said = error.response.headers.get("X-Error-Message", "")
    if status == 401 and (not isinstance(error, errors.RepositoryNotFoundError) or said.startswith("Invalid")):
        return f"The Hub does not know this token: it is mistyped, or it was revoked. Make a new one at {TOKENS}"
    if isinstance(error, errors.RepositoryNotFoundError):
        private = "this token may not read it" if token else f"{LOG_IN} that may read it"
        return f"There is no public model {repo} on the Hub. Check the spelling; if it is private, {private}."
    if status == 403:
        return (
            f"This token may not do that with {repo}. It needs the permission to write ({TOKENS}), and the name before "
            "the / must be yours, or an organisation's that you belong to."
        )
    if status == 429:
        return "The Hub asks to wait: too many requests came from here. Try again in a few minutes."
    if status >= 500:
        return f"{_host()} cannot answer now ({status}). Try again later; what was fetched before still opens."
    return f"The Hub refused a request for {repo} ({status}). Try again, and look at {SITE}{repo} in a browser."


def _disk(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full. Free some space, or let HF_HOME name a folder on a larger disk, and try again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"No permission to write in {constants.HF_HUB_CACHE}. Change that, or let HF_HOME name another folder."
    return f"A file could not be read or written ({error.strerror or type(error).__name__}). Try again."
