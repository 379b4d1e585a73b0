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
    assert main(words) == 2
    assert "go together" in capsys.readouterr().err


def test_a_proxy_that_is_no_network_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["serve", "--behind-proxy", "everybody", "--data-dir", str(tmp_path / "data"), "--engine", "fake"]
    assert main(words) == 2
    assert "--behind-proxy must be an address or a network" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["soon", "", "0", "-1", "nan", "inf", "-inf", "1e999"])
def test_a_number_that_is_not_legal_in_the_environment_is_explained(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("BILDWERK_SECONDS_LEASE", text)
    words = ["serve", "--host", "0.0.0.0", "--data-dir", str(tmp_path / "data"), "--engine", "fake"]
    assert main(words) == 1
    explained = capsys.readouterr().err
    assert f"BILDWERK_SECONDS_LEASE must be a finite number above 0 such as 30.0, not {text!r}" in explained


@pytest.mark.parametrize("text", ["0", "-5", "1.5"])
def test_a_limit_that_is_no_positive_whole_number_is_explained(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("BILDWERK_LIMIT_READS_PER_MINUTE", text)
    words = ["serve", "--host", "0.0.0.0", "--data-dir", str(tmp_path / "data"), "--engine", "fake"]
    assert main(words) == 1
    explained = capsys.readouterr().err
    assert f"BILDWERK_LIMIT_READS_PER_MINUTE must be a whole number above 0 such as 3000, not {text!r}" in explained


@pytest.mark.parametrize("port", ["-1", "65536", "99999999999"])
def test_a_port_that_is_none_is_explained(port: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["serve", "--port", port, "--data-dir", str(tmp_path / "data"), "--engine", "fake"]) == 2
    assert f"--port must be from 0 to 65535, not {port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [("serve", "--host", "0.0.0.0"), ("keys", "list"), ("accounts", "list"), ("check",)]
)
@pytest.mark.parametrize("port", ["abc", "-1", "65536", "80a"])
def test_a_port_in_the_environment_that_is_none_is_explained(
    command: tuple[str, ...], port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("BILDWERK_PORT", port)
    assert main(command) == 1
    assert f"BILDWERK_PORT must be a port from 0 to 65535, not {port!r}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    ["pictures.example", "//pictures.example", "https://", "https:///path", "ftp://a", "https://[::1", "http://a:x"],
)
def test_a_public_url_without_scheme_or_host_is_explained(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["serve", "--host", "0.0.0.0", "--public-url", url, "--data-dir", str(tmp_path / "data")]
    assert main(words) == 2
    assert "--public-url must be http:// or https:// and a host, not " in capsys.readouterr().err


def test_what_it_keeps_is_for_its_owner_only(tmp_path: Path):
    with inline_service(tmp_path / "data"):
        pass
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir() if path.is_file()}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert modes["initial-credentials"] == modes["master-secret"] == 0o600
