"""A bucket in memory behind as much of the HTTP interfaces of Google Cloud Storage and S3 as TensorStore uses.

Objects are replaced whole; there is no appending and no renaming. `Server.fails` (a status) makes it answer every
request with an error once there were more than `Server.limit` writes, as an outage or lost permissions do.
"""

import contextlib
import http.server
import json
import re
import threading
import urllib.parse
from xml.sax.saxutils import escape

PAGE = 50  # keys of one answer to a list request: lists come in several pages, as real ones do


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, tuple[bytes, int]] = {}  # "bucket/key" -> content, generation
        self.lock, self.generation, self.fails, self.limit, self.writes = threading.Lock(), 0, None, 0, 0
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm, wbufsize = True, 2**16  # an answer goes out at once, in one piece

    def handle_expect_100(self):
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", len(body))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.fails and self.server.writes >= self.server.limit:
            return self.answer(self.server.fails)
        url = urllib.parse.urlsplit(self.path)
        query = {name: values[0] for name, values in urllib.parse.parse_qs(url.query, True).items()}
        google = re.match(r"/(?:upload/)?storage/v1/b/([^/]+)/o/?(.*)", url.path)
        bucket, key = google.groups() if google else url.path[1:].partition("/")[::2]
        key = urllib.parse.unquote(key) or query.get("name", "")
        with self.server.lock:
            if not key:
                (self.list_google if google else self.list_s3)(bucket, query)
            elif self.command in ("PUT", "POST"):
                self.write(f"{bucket}/{key}", body, query)
            elif self.command == "DELETE":
                self.answer(204 if self.server.objects.pop(f"{bucket}/{key}", None) or not google else 404)
            else:
                self.read(f"{bucket}/{key}")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def read(self, name):
        if name not in self.server.objects:
            return self.answer(404)
        content, generation = self.server.objects[name]
        tags = {"x_goog_generation": generation, "ETag": f'"{generation}"'}
        if self.headers.get("If-None-Match") == tags["ETag"]:
            return self.answer(304, **tags)
        wanted = re.match(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return self.answer(200, content, **tags)
        first = int(wanted[1]) if wanted[1] else len(content) - int(wanted[2])
        last = min(int(wanted[2]), len(content) - 1) if wanted[1] and wanted[2] else len(content) - 1
        return self.answer(206, content[first : last + 1], Content_Range=f"bytes {first}-{last}/{len(content)}", **tags)

    def write(self, name, body, query):
        _, now = self.server.objects.get(name, (b"", 0))
        expected = query.get("ifGenerationMatch") or self.headers.get("If-Match", "").strip('"') or None
        if self.headers.get("If-None-Match") == "*":
            expected = 0
        if expected is not None and int(expected) != now:
            return self.answer(412)
        self.server.generation += 1
        self.server.writes += 1
        self.server.objects[name] = body, self.server.generation
        about = {"name": name.partition("/")[2], "generation": str(self.server.generation), "size": str(len(body))}
        return self.answer(200, json.dumps(about).encode(), ETag=f'"{self.server.generation}"')

    def page(self, bucket, fits):
        """Keys of one page, and whether there are more."""
        keys = sorted(name.partition("/")[2] for name in self.server.objects if name.startswith(f"{bucket}/"))
        keys = [key for key in keys if fits(key)]
        return keys[:PAGE], len(keys) > PAGE

    def list_google(self, bucket, query):
        start, end = query.get("startOffset", ""), query.get("endOffset", "\U0010ffff")
        after = bytes.fromhex(query.get("pageToken", "")).decode()
        keys, more = self.page(bucket, lambda key: start <= key < end and key > after)
        found = {"items": [{"name": key, "size": "1"} for key in keys]}
        self.answer(200, json.dumps(found | ({"nextPageToken": keys[-1].encode().hex()} if more else {})).encode())

    def list_s3(self, bucket, query):
        if self.command == "HEAD":  # where is this bucket?
            return self.answer(200, x_amz_bucket_region="here")
        after = bytes.fromhex(query.get("continuation-token", "")).decode() or query.get("start-after", "")
        keys, more = self.page(bucket, lambda key: key > after and key.startswith(query.get("prefix", "")))
        items = "".join(f"<Contents><Key>{escape(key)}</Key><Size>1</Size></Contents>" for key in keys)
        token = f"<NextContinuationToken>{keys[-1].encode().hex()}</NextContinuationToken>" if more else ""
        about = f"<KeyCount>{len(keys)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        return self.answer(200, f"<?xml version='1.0'?><ListBucketResult>{about}{items}</ListBucketResult>".encode())


def environment(server: Server) -> dict:
    """What sends both clients to this server."""
    return {
        "TENSORSTORE_GCS_HTTP_URL": server.url,
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "anything",
        "AWS_ENDPOINT_URL": server.url,
        "AWS_REGION": "here",
        "AWS_ACCESS_KEY_ID": "anyone",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextlib.contextmanager
def running(monkeypatch):
    server = Server()
    for name, value in environment(server).items():
        monkeypatch.setenv(name, value)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
