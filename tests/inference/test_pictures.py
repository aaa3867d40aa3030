"""Pictures of inputs are kept after the answer, within bounds, and harm nothing."""

import io
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image
from uuid6 import uuid7

from inference.pictures import MOST_WAITING, Fate, KeepRules, PictureKeeper
from inference.settings import KeepOptions
from monitor.store.payloads import Payloads, reference_of
from reference_data.preprocess import DecodeLimits
from reference_data.thumbnail import thumbnail_of
from tests.inference.conftest import serving, wait_for
from tests.inference.tiny_model import encoded, picture

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
LIMITS = DecodeLimits()


def rules(*, flagged: bool = True, share: float = 0.01) -> KeepRules:
    return KeepRules(flagged=flagged, share=share, sealed_share=1.0, longest_side=64, limits=LIMITS)


def size_of(jpeg: bytes | None) -> tuple[int, int]:
    assert jpeg is not None
    return Image.open(io.BytesIO(jpeg)).size


def test_flagged_inputs_and_a_steady_share_of_the_others_are_wanted() -> None:
    ids = [str(uuid7()) for _ in range(4000)]
    wanted = [rules(share=0.1).wants(each, flagged=False) for each in ids]
    assert 300 < sum(wanted) < 500
    assert wanted == [rules(share=0.1).wants(each, flagged=False) for each in ids]
    assert all(rules(share=0).wants(each, flagged=True) for each in ids)
    assert not any(rules(flagged=False, share=0).wants(each, flagged=True) for each in ids)


def test_a_kept_picture_is_small_and_says_nothing_but_itself() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera's name"
    large = encoded(picture(size=(900, 600)), "JPEG", exif=exif, comment=b"a secret")
    small = thumbnail_of(large, "RGB", LIMITS, 256)
    assert size_of(small) == (256, 171)
    assert b"camera" not in small
    assert b"secret" not in small
    assert size_of(thumbnail_of(encoded(picture(size=(40, 30))), "L", LIMITS, 256)) == (40, 30)


def test_pictures_are_kept_and_faults_are_counted(tmp_path: Path) -> None:
    payloads = Payloads(tmp_path)
    keeper = PictureKeeper(payloads, rules())
    keeper.start()
    good, bad = (reference_of("m", NOW, str(uuid7())) for _ in range(2))
    keeper.offer(bad, b"no picture", "RGB", flagged=True)
    keeper.offer(good, encoded(picture(size=(100, 50))), "RGB", flagged=False)
    keeper.close(timeout_s=20)
    assert keeper.counts() == {Fate.KEPT: 1, Fate.DROPPED: 0, Fate.FAILED: 1}
    assert size_of(payloads.get(good)) == (64, 32)
    assert payloads.get(bad) is None


def test_more_than_may_wait_is_dropped_and_counted_at_once(tmp_path: Path) -> None:
    keeper = PictureKeeper(Payloads(tmp_path), rules())
    for _ in range(MOST_WAITING + 7):
        keeper.offer(reference_of("m", NOW, str(uuid7())), b"x", "RGB", flagged=True)
    assert keeper.counts()[Fate.DROPPED] == 7
    huge = PictureKeeper(Payloads(tmp_path), rules())
    for _ in range(3):
        huge.offer(reference_of("m", NOW, str(uuid7())), bytes(12 << 20), "RGB", flagged=True)
    assert huge.counts()[Fate.DROPPED] == 1


def test_a_keeper_that_is_closed_drops_what_comes_late(tmp_path: Path) -> None:
    keeper = PictureKeeper(Payloads(tmp_path), rules())
    keeper.start()
    keeper.close(timeout_s=5)
    keeper.offer(reference_of("m", NOW, str(uuid7())), b"x", "RGB", flagged=True)
    assert keeper.counts()[Fate.DROPPED] == 1


def test_the_gateway_keeps_what_its_record_names_and_nothing_else(tmp_path: Path) -> None:
    with serving(tmp_path, keep=KeepOptions(share=0.0, longest_side=32)) as gateway:

        def recorded(image: Image.Image) -> dict[str, object]:
            answer = gateway.client.post("/predict", files={"file": ("x", encoded(image))})
            return gateway.event(answer.json()["event_id"])

        usual, odd = recorded(picture("red", 301)), recorded(Image.new("RGB", (90, 60), "white"))
        assert (usual["flagged"], usual["payload_ref"]) == (False, None)
        assert odd["flagged"] is True
        assert isinstance(odd["at"], datetime)
        expected = reference_of("colours", odd["at"], str(odd["event_id"]))
        assert odd["payload_ref"] == expected
        payloads = Payloads(gateway.installation.store.payloads)
        wait_for(lambda: payloads.has(expected))
        assert size_of(payloads.get(expected)) == (32, 21)
        exported = gateway.client.get("/metrics").text
        assert 'fieldwatch_kept_pictures_total{outcome="kept"} 1.0' in exported


def test_a_store_of_pictures_that_cannot_be_written_harms_no_answer(tmp_path: Path) -> None:
    (tmp_path / "payloads").write_text("in the way")
    with serving(tmp_path, keep=KeepOptions(share=1.0)) as gateway:
        answer = gateway.client.post("/predict", files={"file": ("x", encoded(picture()))})
        assert answer.status_code == 200
        assert answer.json()["reason"] == "no_plan"

        def failed() -> bool:
            pictures = gateway.context.predicting.pictures
            return pictures.counts()[Fate.FAILED] == 1

        wait_for(failed)
