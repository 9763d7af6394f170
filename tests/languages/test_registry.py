import os
import re

import pytest

from babel_jax.common.errors import UserError
from babel_jax.corpus import call_sites
from babel_jax.languages import lexical, registry
from babel_jax.languages.lexical import code_only


def test_unknown_language_names_the_nearest():
    with pytest.raises(UserError, match=r"unknown language 'pyhton'; did you mean 'python'\?"):
        registry.language("pyhton")


def test_records_are_complete():
    for name in ("python", "php", "csharp", "go", "cpp"):
        record = registry.language(name)
        assert record.name == name and record.title
        assert all(extension.startswith(".") for extension in record.extensions)


def test_pairs_are_many_distinct_and_differ():
    every = [pairs for language in registry.LANGUAGES.values() for pairs in language.pairs.values()]
    assert len(every) >= 4 and all(len(pairs) >= 15 for pairs in every)
    for pairs in every:
        assert len({tuple(identifier.text for identifier in pair) for pair in pairs}) == len(pairs)
        for pair in pairs:
            assert pair[0].text.lower() != pair[1].text.lower()
            assert len(os.path.commonprefix([identifier.text for identifier in pair])) < 2
            for identifier in pair:
                assert re.fullmatch(r"\w+", identifier.text)
                assert identifier.use in ("function", "method", "property", "word")


NATURAL = ("en", "de", "fr", "es", "ru", "zh", "ja")


def test_natural_languages_have_a_script_and_the_words_of_every_sentence():
    records = [registry.language(name) for name in NATURAL]
    assert [one.name for one in registry.LANGUAGES.values() if one.kind == "natural"] == sorted(NATURAL)
    assert [one.is_spaced for one in records] == [True] * 5 + [False] * 2
    for one in records:
        assert one.kind == "natural" and one.prompts == "cloze" and one.script
        assert (len(one.stop_words) >= 80) == one.is_spaced
    text = "In der Mitte der Seite steht, wie man die Größe der Schrift mit einem Befehl ändern kann.".lower().split()
    counts = {one.name: sum(word in one.stop_words for word in text) for one in records}
    assert max(counts, key=counts.get) == "de" and counts["de"] >= 8


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "code", "script": "latin"}, "x.yaml: script: goes with `kind: natural`"),
        ({"kind": "code", "stop_words": ["a"]}, "x.yaml: stop_words: goes with `kind: natural`"),
        ({"script": "greek"}, "x.yaml: script: unknown script 'greek'"),
        ({"script": "chinese", "stop_words": ["的"]}, "stop_words: cannot be found in chinese script"),
        ({"stop_words": ["a", "The"]}, "x.yaml: stop_words.1 is 'The'; write letters alone, in lower case"),
        ({"stop_words": ["l'"]}, "x.yaml: stop_words.0 is 'l''; write letters alone"),
        ({"stop_words": ["u\u0308ber"]}, "write letters alone, in lower case"),
        ({"stop_words": ["a", "a"]}, "x.yaml: stop_words"),
    ],
)
def test_what_is_wrong_of_a_natural_language_is_reported_with_its_place(data, message):
    with pytest.raises(UserError, match=re.escape(message)):
        registry.record("x", {"title": "X", "kind": "natural", "extensions": [".x"], **data}, "x.yaml")


def test_pairs_in_the_other_direction_are_turned_round():
    python, php, go, cpp = map(registry.language, ("python", "php", "go", "cpp"))
    forward = registry.identifier_pairs(python, php)
    assert registry.identifier_pairs(php, python) == tuple((new, primary) for primary, new in forward)
    with pytest.raises(
        UserError, match=r"no built-ins of Go and C\+\+ are known to mean the same; write them under `pairs`"
    ):
        registry.identifier_pairs(go, cpp)


# Every identifier of the pairs as its language's reference writes it.
USES = {
    "python": """
        import os, re, json, heapq, bisect, shutil, threading
        text = input(); print(len(text), str(3), None); names.append(text.strip().lower().upper())
        text.lstrip().rstrip(); text.ljust(3); text.rjust(3); text.find("a"); text.rfind("a"); text.encode().decode()
        names.extend(map(f, filter(g, names))); type(text); super().f(); os.path.dirname(a); os.makedirs(a)
        text.startswith("a"); text.endswith("a"); text.replace("a", "b"); "{}".format(1); json.dumps(a); json.loads(a)
        re.compile("a"); lock.acquire(); lock.release(); os.listdir(a); shutil.rmtree(a); sum(names); found.discard(a)
        re.sub("a", "b", text); heapq.heappush(h, a); heapq.heappop(h); heapq.heapify(h); bisect.bisect_left(h, a)
        bisect.bisect_right(h, a); os.path.basename(a); os.path.getsize(a); os.cpu_count()
        try: raise ValueError
        except ValueError: pass
        """,
    "csharp": """
        int n = text.Length; Console.WriteLine(3.ToString()); Console.ReadLine(); names.Add(text.Trim().ToLower());
        text.ToUpper().TrimStart().TrimEnd().PadRight(3).PadLeft(3).IndexOf('a'); text.LastIndexOf('a');
        Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text)); names.AddRange(a.Select(f).Where(g)); a.GetType();
        base.F(); Path.GetDirectoryName(a); Directory.CreateDirectory(a); object o = null;
        try { throw e; } catch (IOException) { }
        """,
    "go": """
        fmt.Println(strconv.Itoa(3)); strings.TrimSpace(s); strings.ToLower(s); strings.ToUpper(s); panic(nil)
        strings.HasPrefix(s, "a"); strings.HasSuffix(s, "a"); strings.ReplaceAll(s, "a", "b"); strings.TrimLeft(s, "a")
        strings.TrimRight(s, "a"); strings.Index(s, "a"); strings.LastIndex(s, "a"); fmt.Sprintf("%d", 1)
        json.Marshal(a); json.Unmarshal(b, &a); regexp.MustCompile("a"); mu.Lock(); mu.Unlock(); os.ReadDir(a)
        os.RemoveAll(a); var p *int = nil
        return nil
        """,
    "cpp": """
        int n = text.size(); std::cin >> n; std::cout << std::to_string(n); names.push_back(text); int *p = f(nullptr);
        names.emplace_back("a"); std::accumulate(a, b, 0); found.erase(a); mutex.lock(); std::regex_replace(text, r, "b");
        std::push_heap(a, b); std::pop_heap(a, b); std::make_heap(a, b); std::lower_bound(a, b, c);
        std::upper_bound(a, b, c); std::filesystem::create_directories(a); path.filename(); path.parent_path();
        std::filesystem::file_size(a); std::thread::hardware_concurrency();
        try { throw e; } catch (const std::exception& e) { }
        """,
}


@pytest.mark.parametrize("new", ["csharp", "go", "cpp"])
def test_the_miner_finds_every_identifier_of_the_pairs(new):
    for pair in registry.language(new).pairs["python"]:
        for name, identifier in zip(("python", new), pair, strict=True):
            record = registry.language(name)
            code = code_only(USES[name], record)
            found = call_sites.sites(code, identifier, record)
            assert found and all(code[site:].startswith(identifier.text) for site in found), identifier


@pytest.mark.parametrize(
    ("name", "identifier", "text"),
    [
        ("python", "find", "root.find('a')"),
        ("python", "loads", "pickle.loads(a)"),
        ("python", "decode", "tokenizer.decode(a)"),
        ("python", "map", "pool.map(f, a)"),
        ("python", "sum", "a.sum()"),
        ("csharp", "GetString", "reader.GetString(0)"),
        ("csharp", "base", "x.base; string base = 1"),
        ("go", "Unmarshal", "yaml.Unmarshal(a, b)"),
        ("cpp", "lock", "lock(a)"),
    ],
)
def test_what_is_another_function_of_the_name_is_no_use(name, identifier, text):
    record = registry.language(name)
    known = {pair[1] for pairs in record.pairs.values() for pair in pairs}
    known |= {pair[0] for other in registry.LANGUAGES.values() for pair in other.pairs.get(name, ())}
    chosen = [one for one in known if one.text == identifier]
    assert chosen and not any(call_sites.sites(code_only(text, record), one, record) for one in chosen)


DELIMITED = dict(open=r"\[{}\[", open_begun=r"\[=*", close=r"\]{}\]", close_begun=r"\]=*", delimiter="=*")


def test_a_delimited_literal_may_begin_with_a_bracket():
    lua = registry.record("lua", dict(title="Lua", extensions=[".lua"], delimited=DELIMITED), "lua.yaml")
    text = "a = [==[ not ]] code ]==] .. b[1]"
    assert [text[span.start : span.end] for span in lexical.not_code(text, lua)] == ["[==[ not ]] code ]==]"]


@pytest.mark.parametrize(("key", "pattern"), [("open", "[=]{}"), ("open", "(a|b){}"), ("close", "]{}]")])
def test_a_delimited_literal_that_could_never_match_is_refused(key, pattern):
    with pytest.raises(UserError, match=rf"lua.yaml: delimited.{key} is '.*'; begin it with a"):
        registry.record("lua", dict(title="Lua", extensions=[".lua"], delimited=DELIMITED | {key: pattern}), "lua.yaml")
