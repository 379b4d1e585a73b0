"""Begins where the model that ships ended: its weights become the first checkpoints of a training.

    python -m training.shipped

The tokenizers may be new ones: a token that both know keeps its row of the embedding.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

from bildwerk.flux.autoencoder import Autoencoder
from bildwerk.flux.tokenizers import PromptTokenizer
from bildwerk.weights.load import load_components
from training.autoencoder import PARAMS
from training.checkpoint import Averaged, save_checkpoint
from training.dataset import RUNS
from training.export import FOLDER
from training.latents import write_scale
from training.painter import Painter

T5_TABLE, CLIP_TABLE = "shared.weight", "text_model.embeddings.token_embedding.weight"


def adopt(mine: nn.Module, theirs: nn.Module, table: str, now: PromptTokenizer, before: PromptTokenizer) -> int:
    """A text encoder's weights; of its `table` of tokens the rows that both vocabularies have: returns how many.

    Raises `RuntimeError` where the encoders differ.
    """
    known, state = before.tokenizer.get_vocab(), dict(theirs.state_dict())
    shared = {row: known[token] for token, row in now.tokenizer.get_vocab().items() if token in known}
    rows = mine.get_parameter(table).detach().clone()
    rows[torch.tensor(list(shared))] = state[table][torch.tensor(list(shared.values()))]
    mine.load_state_dict(state | {table: rows})
    return len(shared)


def begin(folder: Path, runs: Path, tokenizers: Path) -> None:
    """folder: what `training.export` wrote. Writes `autoencoder.pt` and `flow.pt` into `runs`."""
    shipped = load_components(folder, torch.float32)
    painter = Painter(shipped.transformer.params, tokenizers)
    painter.flow.load_state_dict(shipped.transformer.state_dict())
    rows = adopt(painter.t5, shipped.t5, T5_TABLE, painter.t5_tokenizer, shipped.t5_tokenizer)
    rows += adopt(painter.clip, shipped.clip, CLIP_TABLE, painter.clip_tokenizer, shipped.clip_tokenizer)
    autoencoder = Autoencoder(PARAMS)
    autoencoder.load_state_dict(shipped.autoencoder.state_dict())
    write_scale(runs / "latents", shipped.autoencoder.params.shift_factor, shipped.autoencoder.params.scale_factor)
    save_checkpoint(runs / "flow.pt", 0, painter, Averaged(painter, 0.995))
    save_checkpoint(runs / "autoencoder.pt", 0, autoencoder, Averaged(autoencoder, 0.995))
    print(f"kept {rows} rows of tokens")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--runs", type=Path, default=RUNS)
    options = parser.parse_args()
    begin(options.folder, options.runs, options.runs / "tokenizers")


if __name__ == "__main__":
    main()
