"""Evidence is served under its four names only."""

from __future__ import annotations

import pytest
from support.site import make_incident

NAMES = ("frame.jpg", "crop.jpg", "reference.jpg", "manifest.json")


@pytest.fixture
def incident(site):
    incident = make_incident()
    folder = site.evidence_folder / incident.id
    folder.mkdir(parents=True)
    for name in (*NAMES, "embedding.npy"):
        (folder / name).write_text(f"content of {name}")
    for other in ("-", "-backstage", "-presenter-inset"):
        (site.evidence_folder / f"{incident.id}{other}").mkdir()
        (site.evidence_folder / f"{incident.id}{other}" / "frame.jpg").write_text("outside")
    (site.evidence_folder / "secret.json").write_text("outside")
    (site.evidence_folder.parent / "frame.jpg").write_text("outside")
    return incident


@pytest.mark.parametrize("name", NAMES)
async def test_the_four_files_are_served_with_their_type(browser, site, incident, name):
    response, text = await browser.get(site, f"/evidence/{incident.id}/{name}")
    assert response.status == 200
    assert text == f"content of {name}"
    assert response.content_type == ("application/json" if name.endswith("json") else "image/jpeg")


@pytest.mark.parametrize("name", NAMES)
async def test_what_never_changes_need_not_be_asked_for_again_and_is_nobody_elses_to_keep(
    browser, site, incident, name
):
    response, _ = await browser.get(site, f"/evidence/{incident.id}/{name}")
    assert response.headers["Cache-Control"] == "private, max-age=86400, immutable"


async def test_evidence_that_is_not_there_yet_is_asked_for_again(browser, site):
    response, _ = await browser.get(site, f"/evidence/{make_incident().id}/frame.jpg")
    assert (response.status, response.headers["Cache-Control"]) == (404, "no-store")


async def test_the_manifest_is_a_download(browser, site, incident):
    response, _ = await browser.get(site, f"/evidence/{incident.id}/manifest.json")
    assert response.headers["Content-Disposition"] == f'attachment; filename="manifest-{incident.id}.json"'


async def test_the_folder_of_an_escalation_is_served_like_the_first(browser, site, incident):
    folder = site.evidence_folder / f"{incident.id}-static_image"
    folder.mkdir()
    (folder / "manifest.json").write_text("content of the second")
    response, text = await browser.get(site, f"/evidence/{folder.name}/manifest.json")
    assert (response.status, text) == (200, "content of the second")
    assert response.headers["Content-Disposition"] == f'attachment; filename="manifest-{folder.name}.json"'


@pytest.mark.parametrize(
    "path",
    [
        "/evidence/{id}/embedding.npy",
        "/evidence/{id}/",
        "/evidence/{id}",
        "/evidence/{id}/frame.jpg/",
        "/evidence/{id}/FRAME.JPG",
        "/evidence/{id}/frame.jpg%00",
        "/evidence/{id}/../secret.json",
        "/evidence/{id}/..%2fsecret.json",
        "/evidence/{id}/%2e%2e%2fsecret.json",
        "/evidence/{id}%2f..%2f../frame.jpg",
        "/evidence/../frame.jpg",
        "/evidence/%2e%2e/frame.jpg",
        "/evidence/..%2f/frame.jpg",
        "/evidence/%2fetc/frame.jpg",
        "/evidence/./secret.json",
        "/evidence//secret.json",
        "/evidence/{lower}/frame.jpg",
        "/evidence/{id}-/frame.jpg",
        "/evidence/{id}-backstage/frame.jpg",
        "/evidence/{id}-presenter-inset/frame.jpg",
        "/evidence/{id}-presenter%2f../frame.jpg",
        "/evidence/-presenter/frame.jpg",
        "/evidence/{id}%0a/frame.jpg",
        "/evidence/01ARZ3NDEKTSV4RRFFQ69G5FAV/frame.jpg",
        "/static/../templates/index.html",
        "/static/%2e%2e/templates/index.html",
        "/static/..%2f..%2fapp.py",
        "/static/",
    ],
)
async def test_nothing_else_can_be_reached(browser, site, incident, path):
    response, text = await browser.get(site, path.format(id=incident.id, lower=incident.id.lower()))
    assert response.status in (403, 404)
    assert "outside" not in text
    assert "content of" not in text
