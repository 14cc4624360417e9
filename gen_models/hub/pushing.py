"""Pushing a checkpoint: a repository with the card, the weights, a preview, and a page that says what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from huggingface_hub.utils import disable_progress_bars

from gen_models.hub.addresses import MAIN, address
from gen_models.hub.contents import CARD, EVALUATION, INDEX, PREVIEW, WEIGHTS
from gen_models.hub.reach import Token, checked_token, reach
from gen_models.hub.trouble import explained
from gen_models.interface import BadInput

DATASETS = {  # the repositories that our data sets come from
    "mnist": "ylecun/mnist",
    "fashion-mnist": "zalando-datasets/fashion_mnist",
    "cifar10": "uoft-cs/cifar10",
    "stacked-mnist": "ylecun/mnist",
}
_TASKS = {"image": "unconditional-image-generation", "text": "text-generation"}


def push(
    folder: str | Path,
    repo: str,
    *,
    token: Token = None,
    private: bool = False,
    revision: str | None = None,
    pipeline: Path | None = None,
) -> str:
    """Creates the repository where it does not exist, adds the checkpoint as one commit, and returns its page.

    `pipeline`: a folder with the same model as a pipeline of diffusers, whose files go beside the others. BadInput for
    a folder that is no checkpoint of ours, or a token that is missing, unknown or may not write there.
    """
    from huggingface_hub import CommitOperationAdd, HfApi  # half a second, for those who push alone

    folder = Path(folder)
    where = address(f"{repo}@{revision}" if revision else repo, local=False)
    if not (folder / WEIGHTS).is_file() or not (folder / CARD).is_file():
        raise BadInput(
            f"{folder} holds no weights of its own, so there is nothing to push: it needs {CARD} and {WEIGHTS}, as "
            "training writes them. What was fetched from the Hub is there already."
        )
    page = model_card(folder, where.repo, pipeline).encode()
    names = [name for name in (CARD, WEIGHTS, PREVIEW, EVALUATION) if (folder / name).is_file()]
    token = checked_token(token)
    try:
        reach()
        api = HfApi(endpoint=constants.ENDPOINT, token=token)
        api.whoami(token=token)  # a token that is missing or unknown is told at once, whatever it may do
        added = [CommitOperationAdd(name, str(folder / name)) for name in names]
        added.append(CommitOperationAdd("README.md", page))
        for path in sorted(pipeline.rglob("*")) if pipeline else ():
            if path.is_file():
                added.append(CommitOperationAdd(path.relative_to(pipeline).as_posix(), str(path)))
        with disable_progress_bars():
            api.create_repo(where.repo, private=private, exist_ok=True)
            if where.revision != MAIN:
                api.create_branch(where.repo, branch=where.revision, exist_ok=True)
            api.create_commit(where.repo, added, commit_message="A checkpoint of gen_models", revision=where.revision)
    except Exception as error:
        raise explained(error, where.repo, where.revision, token) from None
    tail = "" if where.revision == MAIN else f"/tree/{where.revision}"
    return f"{constants.ENDPOINT}/{where.repo}{tail}"


def model_card(folder: Path, repo: str, pipeline: Path | None = None) -> str:
    """README.md with the metadata that the Hub reads: licence, library, tags, data set and task."""
    from huggingface_hub import ModelCardData

    card = json.loads((folder / CARD).read_text("utf-8"))
    space, data = card.get("space") or {}, card.get("data")
    translates = bool(space.get("domains"))
    about = ModelCardData(
        license=str(card.get("licence") or "other").split(" ")[0].lower(),
        library_name="diffusers" if pipeline else "gen_models",
        tags=["gen_models", str(card.get("family")), _class(card).lower()],
        datasets=[DATASETS[data]] if data in DATASETS else None,
        pipeline_tag="image-to-image" if translates else _TASKS.get(space.get("kind")),
    )
    judged = f", and `{EVALUATION}` the figures that the playground measured" if (folder / EVALUATION).is_file() else ""
    preview = f"\n![Samples with seeds 0, 1, ..](./{PREVIEW})\n" if (folder / PREVIEW).is_file() else ""
    return f"""---
{about.to_yaml()}
---

# {repo.rpartition("/")[2]}

A {_class(card)} of the family *{card.get("family")}*, made with gen_models, a playground of generative models.
{preview}
{_facts(card)}
## Use

```
python -m gen_models fetch {repo}
python -m gen_models list
```

The same id opens in the playground's Hub tab. `{CARD}` describes the network and its training, `{WEIGHTS}`
holds the weights{judged}.
{_DIFFUSERS.format(kind=_kind(pipeline), repo=repo) if pipeline else ""}"""


_DIFFUSERS = """
The same model is here as a pipeline of diffusers:

```python
from diffusers import {kind}

{kind}.from_pretrained("{repo}")(batch_size=4).images
```
"""


def _kind(pipeline: Path) -> str:
    return json.loads((pipeline / INDEX).read_text("utf-8"))["_class_name"]


def _class(card: Mapping[str, Any]) -> str:
    return str(card.get("model")).rpartition(".")[2]


def _facts(card: Mapping[str, Any]) -> str:
    """A table of what the card knows for certain."""
    weights, training, space = (card.get(name) or {} for name in ("weights", "training", "space"))
    shape = " x ".join(map(str, space.get("shape") or ()))
    rows = {
        "Data": card.get("source") or card.get("data"),
        "Shape": f"{space.get('kind')}, {shape}" if shape else None,
        "Parameters": f"{weights['parameters']:,}" if isinstance(weights.get("parameters"), int) else None,
        "Steps of training": f"{training['steps']:,}" if isinstance(training.get("steps"), int) else None,
        "Seconds of training": training.get("seconds"),
        "Version of gen_models": card.get("version"),
        "Licence": card.get("licence"),
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items() if value not in (None, "")]
    return "\n".join(["| | |", "|---|---|", *lines, ""])
