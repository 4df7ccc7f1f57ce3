"""Serves the evidence of incidents: four names in folders named after ids and presences, nothing else."""

from __future__ import annotations

import asyncio

from aiohttp import web

from monitor.web.query import is_evidence_folder
from monitor.web.site import SITE

EVIDENCE_NAMES = frozenset({"frame.jpg", "crop.jpg", "reference.jpg", "manifest.json"})


async def evidence(request: web.Request) -> web.StreamResponse:
    """One file of one incident.

    :raises aiohttp.web.HTTPNotFound: the folder or the name is none of ours, or the file was not written.
    """
    folder, name = request.match_info["folder"], request.match_info["name"]
    if not is_evidence_folder(folder) or name not in EVIDENCE_NAMES:
        raise web.HTTPNotFound
    path = request.app[SITE].evidence_folder / folder / name
    if not await asyncio.to_thread(path.is_file):
        raise web.HTTPNotFound
    # What was recorded is never changed, so nobody has to ask again; kept no longer than a day because it shows people.
    headers = {"Cache-Control": "private, max-age=86400, immutable"}
    if name == "manifest.json":
        headers["Content-Disposition"] = f'attachment; filename="manifest-{folder}.json"'
    return web.FileResponse(path, headers=headers)
