"""The autoencoder against `diffusers.AutoencoderKL`."""

import torch

from tests.parity.references import (
    AUTOENCODER,
    BF16_BAR,
    FP32_BAR,
    reference_autoencoder,
    relative_error,
    twin_autoencoder,
)


def latents() -> torch.Tensor:
    return torch.randn(2, AUTOENCODER.z_channels, 6, 10, generator=torch.Generator().manual_seed(1))


def pixels() -> torch.Tensor:
    return torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(2)) * 2 - 1


def test_decoded_pixels_agree() -> None:
    reference = reference_autoencoder(AUTOENCODER)
    expected = reference.decode(latents() / AUTOENCODER.scale_factor + AUTOENCODER.shift_factor).sample
    assert relative_error(twin_autoencoder(reference, AUTOENCODER).decode(latents()), expected) <= FP32_BAR


def test_encoded_moments_agree() -> None:
    reference = reference_autoencoder(AUTOENCODER)
    expected = reference.encode(pixels()).latent_dist
    mean, log_variance = twin_autoencoder(reference, AUTOENCODER).moments(pixels())
    assert relative_error(mean, expected.mean) <= FP32_BAR
    assert relative_error(log_variance, expected.logvar) <= FP32_BAR


def test_encoded_samples_agree() -> None:
    reference = reference_autoencoder(AUTOENCODER)
    expected = reference.encode(pixels()).latent_dist.sample(generator=torch.Generator().manual_seed(5))
    noise = torch.randn(expected.shape, generator=torch.Generator().manual_seed(5))
    scaled = (expected - AUTOENCODER.shift_factor) * AUTOENCODER.scale_factor
    assert relative_error(twin_autoencoder(reference, AUTOENCODER).encode(pixels(), noise), scaled) <= FP32_BAR


def test_decoding_in_bfloat16_is_close_to_float32() -> None:
    reference = reference_autoencoder(AUTOENCODER)
    model = twin_autoencoder(reference, AUTOENCODER)
    expected = model.decode(latents())
    assert relative_error(model.bfloat16().decode(latents().bfloat16()), expected) <= BF16_BAR
