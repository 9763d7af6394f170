import io
import tarfile
import zipfile

import pytest

from babel_jax.corpus import sources
from babel_jax.errors import UserError
from babel_jax.languages import language

PYTHON = language("python")
FILES = {"beta/b.py": b"b = 1\n", "alpha/deep/a.py": b"a = 1\n", "alpha/note.txt": b"no\n", ".git/hook.py": b"no\n"}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "code"
    for path, content in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def test_folder_in_sorted_order_without_hidden_files_and_links(folder):
    (folder / "link.py").symlink_to(folder / "beta/b.py")
    assert list(sources.documents([folder], PYTHON)) == [
        ("code/alpha/deep/a.py", b"a = 1\n", 6),
        ("code/beta/b.py", b"b = 1\n", 6),
    ]
    assert [document.content for document in sources.listing([folder], PYTHON)] == [None, None]


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.xz", ".zip"])
def test_archives_give_the_same_documents(folder, tmp_path, ending):
    path = tmp_path / f"code{ending}"
    names = sorted(name for name in FILES if not name.startswith("."))
    if ending == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, FILES[name])
    else:
        with tarfile.open(path, f"w:{ending.removeprefix('.tar').removeprefix('.')}") as archive:
            for name in names:
                entry = tarfile.TarInfo(f"./{name}")
                entry.size = len(FILES[name])
                archive.addfile(entry, io.BytesIO(FILES[name]))
    assert list(sources.documents([path], PYTHON)) == list(sources.documents([folder], PYTHON))


def test_a_huge_file_is_not_read(folder):
    (folder / "zeta.py").write_bytes(b"#" * (sources.LARGEST_FILE + 1))
    last = max(sources.documents([folder], PYTHON))
    assert last == ("code/zeta.py", None, sources.LARGEST_FILE + 1)


def test_errors_say_what_to_do(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.tar.gz").write_bytes(b"no archive")
    for path, message in (
        (tmp_path / "empty", r"no Python file \(\.py\) in .*empty; give a folder"),
        (tmp_path / "missing", "no file or folder .*missing"),
        (tmp_path / "broken.tar.gz", "cannot read .*broken.tar.gz as an archive"),
    ):
        with pytest.raises(UserError, match=message):
            list(sources.documents([path], PYTHON))


def test_a_truncated_archive_is_an_error(folder, tmp_path):
    path = tmp_path / "code.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "code")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="cannot read"):
        list(sources.documents([path], PYTHON))


def test_projects_are_the_first_folders_unless_one_is_most_of_the_corpus():
    files = [sources.Document(f"root/small{i}/x/a.py", None, 10) for i in range(40)]
    files += [sources.Document(f"root/large/{part}/{i}.py", None, 30) for part in "ab" for i in range(2)]
    files += [sources.Document("root/large/one.py", None, 200)]
    projects = sources.Projects(iter(files), share=0.1)
    assert projects.bytes == 720 and projects.files == 45
    assert projects.project("root/small3/x/a.py") == "root/small3"
    assert projects.project("root/large/a/0.py") == "root/large/a"
    assert projects.project("root/large/one.py") == "root/large/one.py"
