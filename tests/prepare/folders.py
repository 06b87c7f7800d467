"""Preparing a folder of one's own."""

from core.prepare.collect import Options
from core.prepare.prepare import prepare
from core.prepare.sources import source

SMALL = Options(size=12, workers=1)


def prepared(folder, root, options=SMALL):
    return prepare(root, source(f"folder:{folder}"), options)
