"""Whether the Hub can be reached, said at once, and what may be sent to it as a token."""

from __future__ import annotations

import re
import socket
import threading
import urllib.request
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import OfflineModeIsEnabled

from gen_models.interface import BadInput

Token = str | bool | None  # None: the one that this machine is logged in with; False: none at all
PATIENCE = 2.5  # seconds until a Hub that does not even take a connection counts as out of reach


def checked_token(token: Token) -> Token:
    """The token without blanks around it; BadInput, without the token, for what cannot be one."""
    if not isinstance(token, str):
        return token
    token = token.strip()
    if token and not re.fullmatch(r"[\w.-]{1,300}", token, re.ASCII):
        raise BadInput("This is no token of the Hub: those begin with hf_ and hold letters and digits. Paste it again.")
    return token or False


def reach() -> None:
    """Raises within PATIENCE where the Hub takes no connection, also while its name is still being looked up."""
    if constants.is_offline_mode():
        raise OfflineModeIsEnabled
    place = urlsplit(constants.ENDPOINT)
    if urllib.request.getproxies().get(place.scheme) and not urllib.request.proxy_bypass(place.hostname or ""):
        return
    error: list[OSError] = [TimeoutError()]

    def knock() -> None:
        try:
            port = place.port or {"http": 80}.get(place.scheme, 443)
            socket.create_connection((place.hostname, port), PATIENCE).close()
            error.clear()
        except OSError as found:
            error[:] = [found]

    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if error:
        raise httpx2.ConnectError(type(error[0]).__name__)
