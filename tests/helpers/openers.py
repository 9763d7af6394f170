"""Pieces of hostile text: marks that open what may be opened again within it, and beginnings of secrets."""

# The first of each opens what may be opened again within it.
MARKS = {
    "python": ['f"""{', '"', "'", '"""', 'f"', 'f"{', "{", "}", "\\", "#", "(", ":"],
    "php": ['"{$', '"', "`", "{$", "<<<A\n", "<<<A", "\nA", "/*", "*", "#", "<?", "?>", "<"],
    "csharp": ['$@"{', '"', '@"', '$"{', "{", "}", "/*", "*", "\\"],
    "go": ["import (\n", '"', "`", "/*", "*", "//", 'import "a"\n', "import ", "a.B", ";"],
    "cpp": ['R"ab(', '"', 'R"(', ")ab", "'", "1'", "1", "/*", "*", "#include <map>\n", "#", "// "],
    "javascript": ["`${", "`", '"', "'", "/", "(/", "/[", "]", "${", "{", "}", "/*", "*", "//", "\\"],
    "typescript": ["`${", "`", "/", "a /* */ ", "return /", "}", "/*", "*", "\\"],
    "java": ['"""', '"', "'", "/*", "*", "//", "\\"],
    "c": ['"', "'", "1'", "1", "/*", "*", "#", "// ", "\\\n"],
    "rust": ["/*", 'r##"', '"#', 'r"', '"', "'", "'a", "b'", "*/", "*", "#", "// ", "\\"],
}
EVERYWHERE = ["a", "\n", " ", "a.", "a b\n"]
SECRETS = ["eyJa.eyJb.", "ghp_" + "a" * 36, "AKIA", "a@b.cc", "@", "1.1.", "8.8.8.8-", "8.8.8.8,", "2600::1-", "::ffff:",
           "version ", "-----BEGIN PRIVATE KEY-----", "-----", "xoxb-1-", "://a:", "aws key '"]  # fmt: skip
