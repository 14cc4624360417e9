"""The page's entry: `demo` for a Space, `python app.py` for a person."""

from __future__ import annotations

import argparse
import gc
import os
import socket
import sys

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
gc.disable()  # until the page is built: searching all that is imported, again and again, is a fifth of the start

from gen_models import device  # noqa: I001  first: on ZeroGPU it imports spaces before anything can touch CUDA

from gen_models import zoo
from gen_models.interface import BadInput
from gen_models.ui import page


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line of the page."""
    parser = argparse.ArgumentParser(description="A playground of generative models, in the browser.")
    host, port = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), int(os.environ.get("GRADIO_SERVER_PORT", "7860"))
    parser.add_argument("--host", default=host, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=port, help="port to listen on (default: %(default)s)")
    parser.add_argument("--share", action="store_true", help="a public link through Gradio's relay")
    parser.add_argument("--device", choices=device.NAMES, default="auto", help="where to compute (default: auto)")
    parser.add_argument("--checkpoints", metavar="DIR", help="folder of checkpoints instead of the bundled one")
    return parser.parse_args(argv)


def busy(host: str, port: int) -> str:
    """Why the address cannot be listened on; "" when it can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


def main(options: argparse.Namespace) -> int:
    """Serves the page until interrupted; 1 with a line on stderr when that cannot be."""
    reason = busy(options.host, options.port)
    if reason:
        print(
            f"Cannot listen on {options.host}:{options.port}: {reason}. Try --port {options.port + 1}.", file=sys.stderr
        )
        return 1
    demo.launch(server_name=options.host, server_port=options.port, share=options.share, **LAUNCH)
    return 0


options = arguments() if __name__ == "__main__" else arguments([])
try:
    where = device.choose(options.device)
    device.share_cores()
    if options.checkpoints and not os.path.isdir(options.checkpoints):
        raise BadInput(f"There is no folder {options.checkpoints}; --checkpoints names one that holds entries.")
    shelf = zoo.Shelf(options.checkpoints) if options.checkpoints else zoo.BUNDLED
    zoo.place(shelf)
    demo = page.page(
        shelf, str(where), may_edit_bundled=__name__ == "__main__" and page.private(options.host, options.share)
    )
except BadInput as error:
    sys.exit(f"{error}")
gc.freeze()
gc.enable()
LAUNCH = {
    **page.look(),
    "run_history": False,
    "footer_links": [],
    "state_session_capacity": 200,
    "max_file_size": "64mb",
    "enable_monitoring": False,
    "ssr_mode": False,
}

if __name__ == "__main__":
    sys.exit(main(options))
