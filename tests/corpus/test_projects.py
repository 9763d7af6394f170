"""Which files belong together, and which of them are held out."""

from babel_jax.corpus import projects


def test_held_out_projects_meet_the_share():
    sizes = {f"project{i}": 10 for i in range(100)} | {f"huge{i}": 400 for i in range(50)}
    held_out = projects.held_out(sizes, 0.01)
    share = sum(sizes[project] for project in held_out) / sum(sizes.values())
    assert 0.01 <= share <= 0.015
    assert not any(project.startswith("huge") for project in held_out)
    assert projects.held_out({"a": 100, "b": 90}, 0.05) == {"b"}
    assert projects.held_out({"a": 100}, 0.05) == set()


def test_projects_are_the_first_folders_unless_one_is_most_of_the_corpus():
    files = [(f"root/small{i}/x/a.py", 10) for i in range(40)]
    files += [(f"root/large/{part}/{i}.py", 30) for part in "ab" for i in range(2)]
    files += [("root/large/one.py", 200)]
    divided = projects.Projects(iter(files), share=0.1)
    assert divided.project("root/small3/x/a.py") == "root/small3"
    assert divided.project("root/large/a/0.py") == "root/large/a"
    assert divided.project("root/large/one.py") == "root/large/one.py"
