"""Muon and AdamW as one optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from gen_models.interface import BadInput


class Muon:
    """Muon for the matrices of linear layers, AdamW for the rest (embeddings, vectors, convolutions), as one optimizer.

    Muon's steps are scaled to the size that AdamW's have, so that one learning rate serves both.

    Muon: An Optimizer for Hidden Layers in Neural Networks (Jordan et al., 2024); the scale as in Muon is Scalable for
    LLM Training (Liu et al., 2025), arXiv 2502.16982.
    """

    def __init__(
        self,
        module: nn.Module,
        parameters: list[nn.Parameter],
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ):
        if not hasattr(torch.optim, "Muon"):
            raise BadInput(f"Muon needs PyTorch 2.9 or newer, here is {torch.__version__}: choose adamw.")
        linear = {id(part.weight) for part in module.modules() if isinstance(part, nn.Linear)}
        matrices = [p for p in parameters if id(p) in linear]
        rest = [p for p in parameters if id(p) not in linear]
        self.parts: list[torch.optim.Optimizer] = []
        if matrices:
            self.parts.append(torch.optim.Muon(matrices, lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"))
        if rest:
            self.parts.append(torch.optim.AdamW(rest, lr, betas=betas, weight_decay=weight_decay, fused=True))

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return {type(part).__name__: part.state_dict() for part in self.parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for part in self.parts:
            part.load_state_dict(state[type(part).__name__])
