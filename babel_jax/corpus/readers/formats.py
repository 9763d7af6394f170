"""Every kind of file that a source may hold, in the order in which `format: auto` tries them."""

from babel_jax.corpus.readers import arrow_tables, json_lines, plain_files, tar_archive, tfds_folder, zip_archive

READERS = (
    zip_archive.READER,
    tar_archive.READER,
    plain_files.FILES,
    json_lines.READER,
    arrow_tables.PARQUET,
    arrow_tables.ARROW,
    tfds_folder.READER,
)
FORMATS = ("auto", *dict.fromkeys(reader.format for reader in READERS))
OF_KIND = {reader.kind: reader for reader in (plain_files.FOLDER, *READERS)}
