"""A program in each language that comes with the package beyond the first five, and one in Python, which use every
built-in of their pairs as the languages' references write it."""

PROGRAMS = {
    "python": '''
import os, re, json, time, copy, bisect, struct, threading, subprocess, io, random, shutil, queue, hashlib
from datetime import timedelta

def read(path, names):
    """Reads names."""
    text = input()
    print(len(text), str(3), int("3"), float("3.5"), ord("a"), chr(97), hex(31), None)
    if isinstance(text, str) and any(names) or all(names):
        names.append(text.strip().lower().upper())
    text.lstrip().rstrip(); text.ljust(3); text.rjust(3); text.find("a"); text.rfind("a"); text.index("a")
    text.split(","); text.splitlines(); "{}".format(1)
    table = dict(a=1); table.items(); table.update(b=2); table.setdefault("c", 3); table.copy()
    other = set(names); other.discard("a"); OrderedDict(); deque(names); list(names); sorted(names); bytearray(4)
    del names[0]
    json.dumps(table); json.loads(text); re.compile("a"); Decimal("1.5")
    now.isoformat(); now.timestamp(); time.time(); time.perf_counter(); time.monotonic(); timedelta(seconds=1)
    os.listdir(path); os.makedirs(path); os.mkdir(path); os.path.basename(path); os.path.realpath(path)
    lock = threading.Lock(); lock.acquire(); lock.release(); threading.Thread(target=read); condition.notify()
    file.seek(0); file.tell(); file.flush(); file.readline(); file.readinto(buffer); io.BytesIO(b"a")
    subprocess.Popen(["a"]); queue.Queue(); random.seed(1); bisect.bisect_left(names, "a"); struct.calcsize("i")
    try:
        raise ValueError("a")
    except ValueError:
        raise Exception("b")
    except KeyError("c"), RuntimeError("d"), OSError("e"):
        raise NotImplementedError("f")
''',
    "javascript": """
// Reads names; it's an example.
function read(names, map) {
  let text = names.toString().trim().toLowerCase().toUpperCase();
  console.log(`${names[0]}`, text.indexOf("a"), parseInt("3"), text.lastIndexOf("a"), parseFloat(text) / 2);
  text.trimStart().trimEnd().padEnd(3); text.padStart(3); text.charCodeAt(0); String.fromCharCode(97);
  if (text instanceof RegExp("a") || names.some(f) && names.every(f)) { names.push(null); }
  for (const one of Object.entries(map)) { Object.assign(map, one); }
  map.delete("a"); JSON.stringify(map); JSON.parse(text); new Uint8Array(4); now.toISOString(); now.getTime();
  fs.readdirSync("."); text.replace(/["'`]/g, "");
  try { throw new Error("a"); } catch (error) { throw new RangeError("b"); }
}
""",
    "java": '''
import java.util.*;

/** Reads names; it's an example. */
class Reader {
  String read(List<String> names) throws IOException {
    String text = names.toString().trim().toLowerCase().toUpperCase();
    System.out.println(text.indexOf("a") + text.lastIndexOf('"') + names.size() + """
        "a" """);
    Map<String, Integer> map = new HashMap<>(); map.putAll(map); map.putIfAbsent("a", 1);
    Set<String> set = new HashSet<>(names); List<String> list = new ArrayList<>(); set.clone();
    map = new LinkedHashMap<>(); Deque<String> deque = new ArrayDeque<>(); new BigDecimal("1.5");
    for (Map.Entry<String, Integer> one : map.entrySet()) { Integer.toHexString(one.getValue()); }
    long start = System.currentTimeMillis() + System.nanoTime();
    Lock lock = new ReentrantLock(); lock.lock(); lock.unlock();
    Files.createDirectories(path);
    if (text instanceof String) { throw new UnsupportedOperationException("a"); }
    try { throw new IllegalArgumentException("b"); } catch (IllegalStateException error) {
      throw new IllegalStateException(new NoSuchElementException("c"));
    }
    if (text == null) throw new IOException("d");
    return null;
  }
}
''',
    "c": """
#include <stdio.h>
#include <string.h>

/* Reads names; it's an example. */
static int read_names(const char *path, FILE *file)
{
    char *text = calloc(4, sizeof(int)), *end = NULL;
    fprintf(stderr, "%zu\\n", strlen(text)); puts("a"); snprintf(text, 4, "%d", 1); sprintf(text, "%d", 1);
    end = strstr(text, "a"); end = strchr(text, 'a'); end = strrchr(text, '"'); memcpy(text, end, 1);
    text[0] = tolower(text[0]) + toupper('\\'');
    qsort(text, 4, 1, compare); end = bsearch(text, text, 4, 1, compare);
    fseek(file, 0, SEEK_SET); ftell(file); fflush(file); fgets(text, 4, file); fread(text, 1, 4, file);
    readdir(directory); srand(1); pthread_create(&thread, NULL, run, NULL);
    pthread_mutex_lock(&mutex); pthread_mutex_unlock(&mutex); pthread_cond_signal(&condition);
    free(text); // done
    return 0;
}
""",
    "rust": """
use std::collections::HashMap;

/// Reads names; it's an example.
fn read<'a>(names: &'a mut Vec<String>, path: &'a Path) -> Option<f64> {
    let text = names[0].trim().to_lowercase().to_uppercase();
    text.trim_start().trim_end().lines(); names.push(text.clone()); names.iter().position(|one| one == "a");
    let number: f64 = text.parse().unwrap(); let quotes = ['"', '\\'', 'a'];
    let mut map = HashMap::new(); map.entry("a"); let set = HashSet::new(); let deque = VecDeque::new();
    path.file_name(); fs::create_dir_all(path); fs::create_dir(path); path.canonicalize();
    let start = Instant::now() + Duration::from_secs(1); Command::new("a"); Cursor::new(r#"b "c" "#);
    thread::spawn(run); let mutex = Mutex::new(1); mutex.lock(); mpsc::channel(); drop(mutex);
    if number > 1.0 { panic!("a") } else { unimplemented!("b") }
}
""",
}
PROGRAMS["typescript"] = (
    PROGRAMS["javascript"]
    .replace("(names, map)", "(names: Array<string>, map: Map<string, any>): string | undefined")
    .replace("let text =", "let text: string =")
)
