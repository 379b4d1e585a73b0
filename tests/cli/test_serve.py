"""`bildwerk serve`: what it refuses to start with, and what it leaves behind."""

import stat
from pathlib import Path

import pytest

from bildwerk.cli.main import main
from tests.inline_service import inline_service


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_an_address_that_others_can_reach_needs_more(host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data_dir = tmp_path / "data"
    assert main(["serve", "--host", host, "--data-dir", str(data_dir), "--engine", "fake"]) == 1
    explained = capsys.readouterr().err
    for way_out in ("--tls-certificate", "--tls-key", "--behind-proxy", "--i-know-plain-http"):
        assert way_out in explained
    assert not data_dir.exists()


def test_half_of_a_certificate_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["serve", "--tls-key", str(tmp_path / "key.pem"), "--data-dir", str(tmp_path / "data"), "--engine", "fake"]
    assert main(words) == 1
    assert "go together" in capsys.readouterr().err


def test_a_proxy_that_is_no_network_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["serve", "--behind-proxy", "everybody", "--data-dir", str(tmp_path / "data"), "--engine", "fake"]
    assert main(words) == 1
    assert "--behind-proxy must be an address or a network" in capsys.readouterr().err


def test_a_number_that_is_none_in_the_environment_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("BILDWERK_SECONDS_LEASE", "soon")
    assert main(["serve", "--data-dir", str(tmp_path / "data"), "--engine", "fake"]) == 1
    assert "BILDWERK_SECONDS_LEASE must be a number such as 30.0, not 'soon'" in capsys.readouterr().err


def test_what_it_keeps_is_for_its_owner_only(tmp_path: Path):
    with inline_service(tmp_path / "data"):
        pass
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir() if path.is_file()}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert modes["initial-credentials"] == modes["master-secret"] == 0o600
