"""Which symbol comes next: logits -> probabilities, cooled or heated, with unlikely symbols left out.

Top-k: Hierarchical Neural Story Generation (Fan, Lewis and Dauphin, 2018), arXiv 1805.04833.
Top-p: The Curious Case of Neural Text Degeneration (Holtzman et al., 2019), arXiv 1904.09751.
"""

from __future__ import annotations

import torch
from torch import Tensor

COLDEST = 1e-6  # a temperature below this is 0: dividing by it would overflow


def kept(logits: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Logits (..., K), or log-probabilities -> the probabilities to draw from, (..., K), rows sum to 1.

    In this order: logits are divided by `temperature` (0: the most probable symbol alone), the `top_k` most probable
    stay (0: all), and of these the fewest that together reach `top_p`. The most probable one always stays; of equal
    ones the first.
    """
    if temperature < COLDEST:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits)
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if not 0 < top_k < logits.shape[-1] and top_p >= 1:
        return logits.softmax(-1)
    ordered, index = logits.sort(dim=-1, descending=True, stable=True)
    place = torch.arange(logits.shape[-1], device=logits.device)
    if top_k > 0:
        ordered = ordered.masked_fill(place >= top_k, float("-inf"))
    p = ordered.softmax(-1)
    before = p.cumsum(-1) - p  # what those that are more probable hold together
    p = p.masked_fill((before >= top_p) & (place > 0), 0.0)
    p = p / p.sum(-1, keepdim=True)
    return torch.zeros_like(p).scatter(-1, index, p)
