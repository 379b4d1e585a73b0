"""Begins where the model that ships ended: its weights become the first checkpoints of a training.

    python -m training.shipped

The tokenizers may be new ones: a token that both know keeps its row of the embedding.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.tokenizers import PromptTokenizer
from bildwerk.weights.load import load_components
from training.autoencoder import PARAMS
from training.checkpoint import Averaged, save_checkpoint
from training.dataset import RUNS
from training.export import FOLDER
from training.painter import Painter


def adopt_rows(mine: Tensor, theirs: Tensor, now: PromptTokenizer, before: PromptTokenizer) -> int:
    """Copies the rows of the tokens that both vocabularies have; returns how many."""
    known = before.tokenizer.get_vocab()
    shared = {row: known[token] for token, row in now.tokenizer.get_vocab().items() if token in known}
    with torch.no_grad():
        mine[torch.tensor(list(shared))] = theirs[torch.tensor(list(shared.values()))]
    return len(shared)


def adopt(mine: nn.Module, theirs: nn.Module, table: str) -> None:
    """All weights of a text encoder but its `table` of tokens. Raises `ValueError` where the encoders differ."""
    state = {name: tensor for name, tensor in theirs.state_dict().items() if name != table}
    missing, unexpected = mine.load_state_dict(state, strict=False)
    if missing != [table] or unexpected:
        raise ValueError(f"the encoder that ships is another: {missing} missing, {unexpected} too many")


def begin(folder: Path, runs: Path, tokenizers: Path) -> None:
    """folder: what `training.export` wrote. Writes `autoencoder.pt` and `flow.pt` into `runs`."""
    shipped = load_components(folder, torch.float32)
    painter = Painter(shipped.transformer.params, tokenizers)
    painter.flow.load_state_dict(shipped.transformer.state_dict())
    adopt(painter.t5, shipped.t5, "shared.weight")
    adopt(painter.clip, shipped.clip, "token_embedding.weight")
    rows = adopt_rows(painter.t5.shared.weight, shipped.t5.shared.weight, painter.t5_tokenizer, shipped.t5_tokenizer)
    table = painter.clip.token_embedding.weight
    rows += adopt_rows(table, shipped.clip.token_embedding.weight, painter.clip_tokenizer, shipped.clip_tokenizer)
    autoencoder = Autoencoder(replace(PARAMS, channels=shipped.autoencoder.params.channels))
    autoencoder.load_state_dict(shipped.autoencoder.state_dict())
    save_checkpoint(runs / "flow.pt", 0, painter, Averaged(painter, 0.0))
    save_checkpoint(runs / "autoencoder.pt", 0, autoencoder, Averaged(autoencoder, 0.0))
    print(f"kept {rows} rows of tokens")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--runs", type=Path, default=RUNS)
    options = parser.parse_args()
    begin(options.folder, options.runs, options.runs / "tokenizers")


if __name__ == "__main__":
    main()
