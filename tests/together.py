"""Several processes on this machine, forked from the test: they start at once, for everything is imported already."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from gen_models.training import Group, Ranks

WAIT = 60  # seconds


def together(count: int, work: Callable[[Group], Any]) -> list[Any]:
    """What `work` gives in each of `count` processes that form a group; an error in one of them is the test's."""

    def one(rank: int, folder: str) -> Any:
        distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=count)
        return work(Ranks(torch.device("cpu")))

    return _forked(count, one)


def commands(count: int, main: Callable[[list[str]], int], words: list[str]) -> list[tuple[int, str, str]]:
    """The command as a launcher starts it in `count` processes: exit code, standard output and error of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def one(rank: int, folder: str) -> tuple[int, str, str]:
        here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        os.environ.update({name: str(value) for name, value in here.items()})
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        said = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said[0]), contextlib.redirect_stderr(said[1]):
            code = main(words)
        return code, said[0].getvalue(), said[1].getvalue()

    return _forked(count, one)


def _forked(count: int, one: Callable[[int, str], Any]) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:

        def child(rank: int) -> None:
            try:
                torch.save(("made", one(rank, folder)), f"{folder}/{rank}")
            except BaseException as error:
                torch.save(("failed", f"process {rank}: {error!r}"), f"{folder}/{rank}")
                raise
            finally:
                sys.stdout.flush()

        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=child, args=(rank,), daemon=True) for rank in range(count)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(WAIT)
            if process.is_alive():
                process.kill()
        found = [
            torch.load(path, weights_only=False) if (path := Path(folder, str(rank))).exists() else ("failed", "hangs")
            for rank in range(count)
        ]
    assert all(kind == "made" for kind, _ in found), [what for kind, what in found if kind == "failed"]
    return [what for _, what in found]
