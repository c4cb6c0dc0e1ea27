"""The page: a real command line, a real upload, and nothing left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from sr_lightning.demo import main
from sr_lightning.errors import UserError
from sr_lightning.image.encoder import Layout, write_image
from sr_lightning.image.source_image import read_source
from sr_lightning.upscale import main as upscale
from sr_lightning.web.enlarger import Enlarger, Weights, pretrained_weights
from sr_lightning.web.temporary_folder import temporary_folder

pytestmark = pytest.mark.usefixtures("_hydras_logging")


def free_port():
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        return any_socket.getsockname()[1]


@pytest.fixture
def page(tmp_path):
    """A page in a process of its own: its address, what it prints, and the folder for temporary files that it has."""
    (tmp_path / "temporary").mkdir()
    command = [sys.executable, "-m", "sr_lightning.demo", f"port={free_port()}", "device=cpu"]
    command += ["checkpoint=edsr_tiny_y_x2", "max_megapixels=0.001"]
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary"), "GRADIO_ALLOWED_PATHS": "/etc"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline().startswith("loading")
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.fixture
def wide_photo(tmp_path, image):
    """16 bits a channel, with alpha: what gradio's own images would lose."""
    levels = np.dstack([image(20, 24, 0), np.full((20, 24, 1), 255, np.uint8)]).astype(np.uint16) * 257
    levels[:, :8, 3] = 0
    write_image(tmp_path / "photo.png", [levels], Layout(20, 24, 4, 16), format="png")
    return tmp_path / "photo.png"


def strangers_are_refused(address):
    port = address.rstrip("/").rpartition(":")[2]
    here = f"127.0.0.1:{port}"

    def page_as(host):
        return httpx.get(address, headers={"Host": host}, timeout=60, trust_env=False).status_code

    def upload(**headers):
        with open("photo.png", "rb") as file:
            url = f"{address}gradio_api/upload"
            answer = httpx.post(url, files={"files": file}, headers=headers, timeout=60, trust_env=False)
        return answer.status_code

    assert [page_as(host) for host in (here, f"localhost:{port}", "LOCALHOST", "[::1]:1")] == [200] * 4
    strangers = ["evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost@evil.example", "0.0.0.0"]
    assert [page_as(host) for host in strangers] == [403] * 5
    assert upload(Host=f"evil.example:{port}", Origin=f"http://evil.example:{port}") == 403
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", f"http://{here}.evil.example", ""):
        assert upload(Origin=origin) == 403, origin
    assert upload(Origin=f"http://{here}") == 200
    assert upload(Host=f"localhost:{port}", Origin=f"http://localhost:{port}") == 200


@pytest.mark.fault("S18", "only what the page itself has made, only to itself")
def test_an_upload_comes_back_as_upscale_writes_it(wide_photo, tmp_path, page):
    import gradio_client

    process, address = page
    assert address.startswith("http://127.0.0.1:")
    html = httpx.get(address, timeout=60, trust_env=False).text
    for path in ("/etc/passwd", "../../../../etc/passwd", str(tmp_path)):
        answer = httpx.get(f"{address}gradio_api/file={path}", timeout=60, trust_env=False)
        assert answer.status_code in (403, 404), path
    strangers_are_refused(address)
    Image.new("RGB", (40, 40)).save("large.png")
    Path("<b>no.png").write_bytes(b"junk")
    client = gradio_client.Client(address, verbose=False, download_files=str(tmp_path / "got"))

    def enlarged(name):
        return client.predict(gradio_client.handle_file(name), "edsr_tiny_y_x2", 2, api_name="/enlarge")

    made, refused = enlarged("photo.png"), []
    for name in ("large.png", "<b>no.png"):
        with pytest.raises(gradio_client.exceptions.AppError) as error:
            enlarged(name)
        refused.append(str(error.value))
    left = list((tmp_path / "temporary").iterdir())
    client.close()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "")
    (bicubic, result), facts, download = made
    assert "24x20 → 48x40 pixels" in facts
    assert "weights edsr_tiny_y_x2" in facts

    assert upscale(["input=photo.png", "output=expected.png", "checkpoint=edsr_tiny_y_x2"]) == 0
    expected = read_source("expected.png").levels
    assert expected.dtype == np.uint16
    for path in (result, download["value"]):
        np.testing.assert_array_equal(read_source(path).levels, expected)
        with Image.open(path) as image:
            assert json.loads(image.getexif()[0x9213])["weights"] == "edsr_tiny_y_x2"
    assert read_source(bicubic).levels.shape == expected.shape
    assert (read_source(bicubic).levels != expected).any()

    assert "large.png is 40x40; allowed: up to 0.001 megapixels" in refused[0]
    assert "is not an image" in refused[1]
    assert "<b>" not in refused[1]
    assert len(left) == 1
    assert list((tmp_path / "temporary").iterdir()) == []
    for outside in ("googletagmanager", "fonts.googleapis", "cdnjs", "huggingface.co"):
        assert outside not in html


def test_what_a_killed_page_leaves_the_next_one_removes(tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    hold = "import time; from sr_lightning.web.temporary_folder import temporary_folder as new\n"
    hold += "with new('demo_') as folder:\n (folder / 'a.png').touch(); print(folder, flush=True); time.sleep(600)"
    environment = os.environ | {"TMPDIR": str(shared)}
    with subprocess.Popen([sys.executable, "-c", hold], env=environment, stdout=subprocess.PIPE, text=True) as process:
        folder = Path(process.stdout.readline().strip())
        with temporary_folder("demo_") as living:  # the other one lives, too
            assert (folder / "a.png").exists()
        assert not living.exists()
        process.kill()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".lock").touch()
    (shared / "demo_link").symlink_to(tmp_path / "elsewhere")
    (shared / "demo_none_of_ours").mkdir()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    assert (folder / "a.png").exists()
    with temporary_folder("demo_") as living:
        assert sorted(shared.iterdir()) == sorted([living, shared / "demo_link", shared / "demo_none_of_ours"])
        assert living.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "elsewhere" / ".lock").exists()

    (shared / "demo_of_another_user").mkdir()
    (shared / "demo_of_another_user" / ".lock").touch()
    monkeypatch.setattr(os, "getuid", lambda: -1)
    with temporary_folder("demo_"):
        assert (shared / "demo_of_another_user" / ".lock").exists()


def test_only_the_latest_results_are_kept(wide_photo, tmp_path):
    (tmp_path / "results").mkdir()
    enlarger = Enlarger(pretrained_weights(), tmp_path / "results", device="cpu", max_megapixels=1)
    made = [enlarger.enlarge(wide_photo, "edsr_tiny_y", 2) for _ in range(6)]
    assert [one.result.exists() for one in made] == [False] * 2 + [True] * 4
    assert made[-1].done.lr_psnr > 20


def test_choices_that_the_page_does_not_offer(wide_photo, tmp_path):
    enlarger = Enlarger([Weights("a", {2: "edsr_tiny_y_x2"})], tmp_path, device="cpu", max_megapixels=1)
    with pytest.raises(UserError, match="weights: found '/etc/passwd', allowed: a"):
        enlarger.enlarge(wide_photo, "/etc/passwd", 2)
    with pytest.raises(UserError, match="scale: a is for x2, found 4"):
        enlarger.enlarge(wide_photo, "a", 4)
    assert pretrained_weights()[0] == Weights("edsr_small_y_clean", {s: f"edsr_small_y_clean_x{s}" for s in (2, 3, 4)})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["port=0"], "port: found 0, allowed: 1 to 65535"),
        (["scale=5"], "scale: found 5"),
        (["browser=maybe"], "browser: found 'maybe'"),
        (["max_megapixels=-1"], "max_megapixels: found -1"),
        (["device=tpu"], "device: found 'tpu'"),
        (["checkpoint=nothing"], "checkpoint: nothing is not there"),
        (["checkpoint=edsr_tiny_y_x2", "scale=4"], "scale: edsr_tiny_y_x2 is for x2, found 4"),
    ],
)
def test_what_is_wrong_is_said_in_one_message(capsys, overrides, message):
    assert main(overrides) == 2
    assert message in capsys.readouterr().err


def test_a_taken_port(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main([f"port={taken.getsockname()[1]}"]) == 2
    assert "Address already in use; allowed: another" in capsys.readouterr().err


def test_without_gradio_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setattr("sr_lightning.config.demo.find_spec", lambda name: None)
    assert main([]) == 2
    assert "the page needs gradio; allowed: pip install 'sr_lightning[demo]'" in capsys.readouterr().err
