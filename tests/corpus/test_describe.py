"""What a corpus says of itself."""

from babel_jax.corpus import rules


def test_every_step_counts_what_it_drops(built):
    """The funnel: each step's reasons, and documents and bytes in and out of it."""
    stats = built.stats.languages["python"]
    dropped = {reason: count.files for reason, count in stats.cleaning.items() if count.files}
    assert dropped == {
        "found": 84,
        **{reason: 1 for reason in ("not_utf8", "whitespace_mark", "size", "generated", "vendored")},
        "duplicate": 2,
        **{reason: 1 for reason in ("duplicate_without_comments", "near_duplicate")},
        **{reason: 1 for reason in ("contaminated", "long_line", "redacted")},
        "kept": 73,
    }
    assert stats.contaminated == {"own/1 solution": 1}
    assert stats.redactions == {"email": 1}
    lines = [line.split(",") for line in (built.directory / "funnel.csv").read_text().splitlines()]
    steps = {row[1]: tuple(map(int, row[2:])) for row in lines[1:] if row[0] == "python"}
    assert tuple(steps) == rules.STEPS
    outs = [(documents, size) for _, _, documents, size in steps.values()]
    assert [ins[:2] for ins in steps.values()] == [(84, stats.sources[0].bytes), *outs[:-1]]
    assert outs[-1] == (73, stats.cleaning["kept"].bytes)
    assert [before - after for before, _, after, _ in steps.values()] == [0, 1, 2, 1, 1, 3, 1, 1, 0, 1, 0]
    address, placeholder = "someone.else@company-mail.com", "<EMAIL>"
    assert steps["redact"][1] - steps["redact"][3] == len(address) - len(placeholder)
