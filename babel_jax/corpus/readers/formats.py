"""Every kind of file that a source may hold, in the order in which `format: auto` tries them."""

from babel_jax.corpus.readers import (
    apt_descriptions,
    arrow_tables,
    html_pages,
    json_lines,
    mallard_pages,
    man_pages,
    mo_catalogues,
    plain_files,
    sword_bibles,
    tar_archive,
    tfds_folder,
    zip_archive,
)

READERS = (
    zip_archive.READER,
    tar_archive.READER,
    plain_files.FILES,
    json_lines.READER,
    arrow_tables.PARQUET,
    arrow_tables.ARROW,
    tfds_folder.READER,
    html_pages.READER,
    mallard_pages.READER,
    man_pages.READER,
    mo_catalogues.MO,
    mo_catalogues.ENGLISH,
    sword_bibles.READER,
    apt_descriptions.READER,
)
FORMATS = ("auto", *dict.fromkeys(reader.format for reader in READERS))
OF_KIND = {reader.kind: reader for reader in (plain_files.FOLDER, *READERS)}
