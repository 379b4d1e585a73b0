"""The peer of `bench/cold_start.py`: one picture with `diffusers.FluxPipeline`, from start to file, in this process."""

import argparse

import torch
from diffusers import FluxPipeline


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("prompt")
    parser.add_argument("out")
    parser.add_argument("--side", type=int, required=True)
    parser.add_argument("--text-tokens", type=int, required=True)
    arguments = parser.parse_args()

    pipeline = FluxPipeline.from_pretrained(arguments.folder, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline(
        arguments.prompt,
        width=arguments.side,
        height=arguments.side,
        num_inference_steps=4,
        guidance_scale=0.0,
        max_sequence_length=arguments.text_tokens,
        generator=torch.Generator("cpu").manual_seed(42),
    ).images[0]
    picture.save(arguments.out)


if __name__ == "__main__":
    main()
