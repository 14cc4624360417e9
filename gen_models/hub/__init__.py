"""The Hugging Face Hub: what stands at an address, fetching it, and pushing a checkpoint of ours."""

from gen_models.hub.addresses import Address, address
from gen_models.hub.bringing import Fetched
from gen_models.hub.contents import MOST_BYTES, OURS, File, gigabytes
from gen_models.hub.fetching import fetch
from gen_models.hub.known import KNOWN, Known
from gen_models.hub.looking import Look, kept, look
from gen_models.hub.pushing import push

__all__ = [
    "KNOWN",
    "MOST_BYTES",
    "OURS",
    "Address",
    "Fetched",
    "File",
    "Known",
    "Look",
    "address",
    "fetch",
    "gigabytes",
    "kept",
    "look",
    "push",
]
