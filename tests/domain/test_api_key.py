import random
import re
import string

import pytest

from bildwerk.domain.api_key import BASE62, PATTERN, checksum, is_well_formed, keyed_hash, new_api_key


def test_a_new_key_has_the_published_form() -> None:
    key = new_api_key().secret
    assert re.fullmatch(r"bw_live_[0-9A-Za-z]{32}[0-9A-Za-z]{6}", key)
    assert is_well_formed(key)


def test_the_pattern_finds_every_key_in_running_text() -> None:
    keys = [new_api_key().secret for _ in range(200)]
    text = "\n".join(f"ATLASCLOUD_API_KEY={key} # keep secret" for key in keys)
    assert re.findall(PATTERN, text) == keys


def test_the_checksum_is_crc32_in_base62() -> None:
    # CRC32("123456789") is the standard's check value 0xCBF43926.
    value = sum(BASE62.index(digit) * 62**i for i, digit in enumerate(reversed(checksum("123456789"))))
    assert value == 0xCBF43926


def test_every_single_character_typo_is_noticed() -> None:
    key = new_api_key().secret
    for position in range(len("bw_live_"), len(key)):
        other = "a" if key[position] != "a" else "b"
        assert not is_well_formed(key[:position] + other + key[position + 1 :])


def test_random_strings_of_the_right_form_are_refused() -> None:
    source = random.Random(1)
    alphabet = string.ascii_letters + string.digits
    assert not any(is_well_formed("bw_live_" + "".join(source.choices(alphabet, k=38))) for _ in range(20_000))


@pytest.mark.parametrize("text", ["", "bw_live_", "sk-abc", "' OR '1'='1", "bw_live_" + "é" * 38, "\x00", "x" * 10_000])
def test_other_formats_are_no_keys_of_ours(text: str) -> None:
    assert not is_well_formed(text)


def test_a_key_with_a_line_end_is_refused() -> None:
    assert not is_well_formed(new_api_key().secret + "\n")


def test_the_hash_depends_on_the_pepper_and_on_the_key() -> None:
    assert keyed_hash(b"pepper", "k") == keyed_hash(b"pepper", "k")
    assert len({keyed_hash(b"pepper", "k"), keyed_hash(b"other", "k"), keyed_hash(b"pepper", "l")}) == 3


def test_the_hash_is_hmac_sha256() -> None:
    # RFC 4231, test case 2.
    assert (
        keyed_hash(b"Jefe", "what do ya want for nothing?")
        == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


def test_the_secret_is_not_in_the_representation() -> None:
    key = new_api_key()
    assert key.secret not in repr(key)
    assert key.display == "bw_live_…" + key.secret[-4:]
    assert key.public_id.startswith("ak_")


def test_keys_do_not_repeat() -> None:
    keys = [new_api_key() for _ in range(1000)]
    assert len({key.secret for key in keys}) == len({key.public_id for key in keys}) == 1000
