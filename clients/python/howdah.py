"""A client of Howdah: jobs, hosts, pools and files, over REST.

One file, Python 3.9 or later, nothing but the standard library: copy it beside your program.

    import howdah

    cluster = howdah.Howdah("http://master-1:7880", "http://master-1:7870", token_file="token")
    cluster.put("books.txt", "/in/books.txt")
    job = cluster.submit({
        "name": "word count", "input": ["/in"], "output": "/out",
        "program": {"builtin": {"name": "wordcount"}}, "reduces": 2,
    })
    status = cluster.wait(job)
    if status["state"] != "SUCCEEDED":
        raise SystemExit(status["failure"])
    for part in cluster.ls("/out"):
        print(cluster.read(part["path"]).decode(), end="")

What the cluster refuses is a HowdahError, with the fields of its problem document. Answers are the
dicts and lists of the JSON that docs/openapi/ describes. Requests that a retry can't harm are sent
again, for `retry_for` seconds, while a daemon can't be reached or says 503. A Howdah may be used by
several threads at once: each request has a connection of its own.
"""

import hashlib
import http.client
import json
import os
import secrets
import ssl
import threading
import time
import urllib.parse

__all__ = ["Howdah", "HowdahError"]

_PIECE = 1 << 20
_PROGRAMS = "/.howdah/programs"
_ENDED = ("SUCCEEDED", "FAILED", "KILLED")


class HowdahError(Exception):
    """What went wrong: the problem document (RFC 9457) of a daemon, or that it could not be reached.

    type         stable name of the cause, like "not-found"; "unreachable" where no daemon answered
    title        the status' standard phrase
    status       the HTTP status; 0 where no daemon answered
    detail       a sentence: what is wrong, with what, and what to do
    retry_after  seconds after which another try may succeed, or None
    request_id   what the logs of the daemons call the request, or None
    """

    def __init__(self, type, title, status, detail, retry_after=None, request_id=None):
        super().__init__(detail)
        self.type = type
        self.title = title
        self.status = status
        self.detail = detail
        self.retry_after = retry_after
        self.request_id = request_id

    def __str__(self):
        known = f"{self.status} {self.type}" if self.status else self.type
        return f"{self.detail} ({known})"


class _Address:
    def __init__(self, url):
        parts = urllib.parse.urlsplit(url if "//" in url else "http://" + url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"{url!r} is no address of a daemon: write http://HOST:PORT or https://HOST:PORT")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self.is_tls = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port


class Howdah:
    """A cluster, by the addresses of its two masters."""

    def __init__(
        self,
        jobtracker="http://127.0.0.1:7880",
        chunkmaster="http://127.0.0.1:7870",
        *,
        token=None,
        token_file=None,
        ca_file=None,
        timeout=75.0,
        retry_for=30.0,
    ):
        """Connects to nothing yet.

        jobtracker   http://HOST:PORT or https://HOST:PORT; jobs, hosts, pools, and the bytes of files
        chunkmaster  the same; only rm, mv and mkdir ask it, and the shipping of programs
        token        as `howdah token` prints it
        token_file   a file that holds one, read at each request: it may be renewed meanwhile
        ca_file      PEM certificates of who signed the daemons' (https); the system's if absent
        timeout      seconds without a byte after which a connection is given up; more than a minute,
                     which answers may be waited for
        retry_for    seconds for which a request is sent again that failed for a passing reason
        """
        if token and token_file:
            raise ValueError("give token or token_file, not both")
        self._jobtracker = _Address(jobtracker)
        self._chunkmaster = _Address(chunkmaster)
        self._token = token
        self._token_file = token_file
        self._timeout = timeout
        self._retry_for = retry_for
        self._tls = None
        if self._jobtracker.is_tls or self._chunkmaster.is_tls:
            self._tls = ssl.create_default_context(cafile=ca_file)
        self._client = "py-" + secrets.token_hex(12)
        self._sequence = 0
        self._lock = threading.Lock()

    # Jobs

    def submit(self, spec, *, executable=None, files=(), key=None):
        """Submits a job and returns its id.

        spec        the job, a dict of the keys of a job file
        executable  a local file, shipped as the job's native program; arguments and the like may stand
                    in spec["program"]["native"] all the same
        files       local files that a native or streaming program finds in its working folder
        key         the Idempotency-Key: the same one gives the same job again. One is made up if
                    absent, so that what is sent again here is one job.
        """
        spec = json.loads(json.dumps(spec))
        if executable is not None:
            native = spec.setdefault("program", {}).setdefault("native", {})
            native["executable"], native["sha256"] = self._ship(executable)
        if files:
            kinds = [kind for kind in ("native", "streaming") if kind in spec.get("program", {})]
            if not kinds:
                raise ValueError("files go with a native or streaming program")
            shipped = spec["program"][kinds[0]].setdefault("files", [])
            for file in files:
                path, sha256 = self._ship(file)
                shipped.append({"path": path, "name": os.path.basename(os.fspath(file)), "sha256": sha256})
        headers = {"Idempotency-Key": key or secrets.token_hex(16)}
        return self._json(self._jobtracker, "POST", "/v1/jobs", spec, headers=headers)["id"]

    def check(self, spec):
        """Says whether a job could be submitted, and submits none: the job with its defaults, or a HowdahError."""
        return self._json(self._jobtracker, "POST", "/v1/jobs?check=true", spec)["job"]

    def jobs(self, *, state=None, pool=None, before=None, limit=None):
        """Lists jobs, newest first; `before` a job id, for the next page."""
        query = {"state": state, "pool": pool, "before": before, "limit": limit}
        return self._get("/v1/jobs", query)["jobs"]

    def status(self, job):
        """Tells what has become of a job: a dict with `state` and much else."""
        return self._get(f"/v1/jobs/{_part(job)}")

    def wait(self, job, timeout=None):
        """Waits for a job's end and returns its status, through restarts of the JobTracker.

        Raises TimeoutError after `timeout` seconds; the job goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = 30.0 if deadline is None else min(30.0, deadline - time.monotonic())
            query = {"wait_ms": max(0, int(left * 1000))}
            status = self._get(f"/v1/jobs/{_part(job)}", query)
            if status["state"] in _ENDED:
                return status
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"{job} is {status['state']} after {timeout} s")

    def watch(self, job=None):
        """Yields what happens, as pairs of a name and a dict, until the connection ends.

        The first ones tell what is. `cluster` comes with numbers of the cluster, `job` with the status
        of a job, whenever it has changed; of one job alone, if it is named, until that one has ended.
        """
        response = self._open(self._jobtracker, "GET", "/v1/events" + _query({"job": job}))
        try:
            name, data = "message", []
            while True:
                line = response.readline()
                if not line:
                    return
                text = line.decode().rstrip("\r\n")
                if not text and data:
                    event = json.loads("\n".join(data))
                    yield name, event
                    if job and name == "job" and event["id"] == job and event["state"] in _ENDED:
                        return
                if not text:
                    name, data = "message", []
                elif text.startswith("event:"):
                    name = text[6:].strip()
                elif text.startswith("data:"):
                    data.append(text[5:].lstrip(" "))
        finally:
            response.close()

    def kill(self, job):
        """Ends a job and returns its status."""
        return self._change(f"/v1/jobs/{_part(job)}/kill")

    def pause(self, job, *, kill=False):
        """Has nothing more of a job launched; with `kill`, ends what runs, to run again later."""
        return self._change(f"/v1/jobs/{_part(job)}/pause", {"kill": kill})

    def resume(self, job):
        """Goes on with a paused job."""
        return self._change(f"/v1/jobs/{_part(job)}/resume")

    def set_priority(self, job, priority):
        """Gives a job another share of the slots: "very-low", "low", "normal", "high" or "very-high"."""
        path = f"/v1/jobs/{_part(job)}/priority"
        return self._json(self._jobtracker, "POST", path, {"priority": priority})

    def counters(self, job):
        """A job's counters: a dict of numbers by name."""
        return self._get(f"/v1/jobs/{_part(job)}/counters")["counters"]

    def attempts(self, job):
        """A job's attempts, each a dict with its host, state and failure."""
        return self._get(f"/v1/jobs/{_part(job)}/attempts")["attempts"]

    def explain(self, job, task=None):
        """Why a job's tasks wait, where they would run, and what the job took its time for."""
        return self._get(f"/v1/jobs/{_part(job)}/explain", {"task": task})

    def log(self, attempt, *, offset=None, limit=None):
        """A part of what an attempt has written, as bytes: the last 64 KiB, or `limit` of them from `offset` on."""
        job = "job_" + "_".join(str(attempt).split("_")[1:3])
        path = f"/v1/jobs/{_part(job)}/attempts/{_part(attempt)}/log"
        return self._bytes("GET", path + _query({"offset": offset, "limit": limit}))

    def history(self, job=None, *, limit=None):
        """Jobs that are over, those that ended last first; or what is kept of one."""
        if job is not None:
            return self._get(f"/v1/history/{_part(job)}")
        return self._get("/v1/history", {"limit": limit})["jobs"]

    # Hosts and pools

    def cluster(self):
        """Which cluster this is, and how busy."""
        return self._get("/v1/cluster")

    def hosts(self):
        """The hosts of TaskTrackers, each a dict with its state, slots and what runs there."""
        return self._get("/v1/hosts")["hosts"]

    def drain(self, host, *, kill=False):
        """Has nothing more launched on a host; with `kill`, ends what runs there."""
        return self._change(f"/v1/hosts/{_part(host)}/drain", {"kill": kill})

    def undrain(self, host):
        """Has attempts launched on a host again."""
        return self._change(f"/v1/hosts/{_part(host)}/undrain")["hosts"]

    def forgive(self, host):
        """Forgets what speaks against a host."""
        return self._change(f"/v1/hosts/{_part(host)}/forgive")

    def pools(self):
        """The pools, each a dict with its rules, what it holds and what waits."""
        return self._get("/v1/pools")["pools"]

    def pause_pool(self, pool, *, kill=False):
        """Has nothing more of a pool launched, of jobs that come later either."""
        return self._change(f"/v1/pools/{_part(pool)}/pause", {"kill": kill})

    def resume_pool(self, pool):
        """Goes on with a paused pool."""
        return self._change(f"/v1/pools/{_part(pool)}/resume")

    def kill_pool(self, pool):
        """Ends a pool's unfinished jobs."""
        return self._change(f"/v1/pools/{_part(pool)}/kill")

    # Files

    def ls(self, path):
        """What lies in a folder, by name: a list of dicts as `stat` gives them."""
        entries, after = [], None
        while True:
            page = self._get("/v1/files", {"path": path, "after": after})
            entries += page["entries"]
            after = page.get("next")
            if after is None:
                return entries

    def stat(self, path):
        """What stands at a path: a dict with `kind`, `length`, `owner` and more."""
        return self._get("/v1/files/stat", {"path": path})

    def exists(self, path):
        """Whether anything stands at a path."""
        try:
            self.stat(path)
        except HowdahError as error:
            if error.type == "not-found":
                return False
            raise
        return True

    def put(self, local, path, *, parents=True, replace=False):
        """Makes a file of a local one, whole or not at all, and returns what `stat` tells of it.

        What stands there is only replaced, in one step, if that is asked for: else it is a HowdahError of the type
        "already-exists".
        """
        with open(local, "rb") as file:
            return self._put(file, os.fstat(file.fileno()).st_size, path, parents, replace)

    def write(self, data, path, *, parents=True, replace=False):
        """The same, of bytes: `data` comes first, and text is to be encoded."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"write(data, path) takes bytes first, not {type(data).__name__}: encode text")
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"write(data, path) takes a path second, not {type(path).__name__}")
        data = bytes(data)
        return self._put(data, len(data), os.fspath(path), parents, replace)

    def get(self, path, local):
        """Copies a file's bytes into a local file, which appears when it is whole."""
        beside = f"{os.fspath(local)}.{secrets.token_hex(4)}.part"
        try:
            with open(beside, "xb") as file:
                for piece in self._pieces(path, None, None):
                    file.write(piece)
            os.replace(beside, local)
        except BaseException:
            if os.path.exists(beside):
                os.remove(beside)
            raise

    def read(self, path, *, offset=None, length=None):
        """A file's bytes, or a range of them."""
        return b"".join(self._pieces(path, offset, length))

    def delete(self, path, *, skip_trash=False):
        """Removes a file, through the JobTracker alone; into the trash, if that is not skipped. It is asked once."""
        query = _query({"path": path, "skip_trash": "true" if skip_trash else None})
        self._whole(self._jobtracker, "DELETE", "/v1/files/content" + query)

    def rm(self, path, *, recursive=False, skip_trash=False):
        """Removes a file, or a folder with all in it; into the trash, if that is not skipped."""
        request = {"path": path, "recursive": recursive, "skip_trash": skip_trash}
        self._stamped("/v1/files/delete", request)

    def mv(self, source, target):
        """Gives a file or folder another path, where nothing stands."""
        self._stamped("/v1/files/rename", {"from": source, "to": target, "replace": "never"})

    def mkdir(self, path, *, parents=True):
        """Makes a folder, and those above it."""
        self._stamped("/v1/files/mkdir", {"path": path, "parents": parents})

    # What lies below

    def _ship(self, local):
        """Has a local file stand among the programs, and returns its path there and its digest."""
        with open(local, "rb") as file:
            data = file.read()
        sha256 = hashlib.sha256(data).hexdigest()
        path = f"{_PROGRAMS}/{sha256}"
        if self._stands_whole(path, data):
            return path, sha256
        # The name belongs to whoever is first. Jobs go by the digest, so that another name does as well.
        beside = f"{path}.{secrets.token_hex(8)}"
        self.write(data, beside)
        try:
            self.mv(beside, path)
        except HowdahError as error:
            if error.type != "already-exists":
                raise
            return beside, sha256
        return path, sha256

    def _stands_whole(self, path, data):
        try:
            return self.stat(path).get("length") == len(data) and self.read(path) == data
        except HowdahError as error:
            if error.type == "not-found":
                return False
            raise

    def _get(self, path, query=None):
        return self._json(self._jobtracker, "GET", path + _query(query or {}))

    def _change(self, path, query=None):
        asked = {name: "true" for name, value in (query or {}).items() if value}
        return self._json(self._jobtracker, "POST", path + _query(asked))

    def _stamped(self, path, request):
        """A change of the chunk store. All of one client are one chain: each is sent when the last is answered."""
        with self._lock:
            self._sequence += 1
            stamp = {"client": self._client, "slot": 0, "sequence": self._sequence}
            return self._json(self._chunkmaster, "POST", path, {"stamp": stamp, **request})

    def _json(self, address, method, path, body=None, headers=None):
        headers = dict(headers or {})
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        return json.loads(self._patiently(lambda: self._whole(address, method, path, data, headers)))

    def _bytes(self, method, path):
        return self._patiently(lambda: self._whole(self._jobtracker, method, path))

    def _patiently(self, ask):
        """Asks again while that may help."""
        deadline = time.monotonic() + self._retry_for
        pause = 0.1
        while True:
            try:
                return ask()
            except HowdahError as error:
                wait = max(pause, error.retry_after or 0)
                if error.status not in (0, 503) or time.monotonic() + wait > deadline:
                    raise
            time.sleep(wait)
            pause = min(pause * 2, 2.0)

    def _whole(self, address, method, path, data=None, headers=None):
        response = self._open(address, method, path, data, headers)
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(address, error) from error
        finally:
            response.close()

    def _put(self, body, length, path, parents, replace):
        flags = {"parents": parents, "replace": replace}
        flags = {name: "true" for name, is_set in flags.items() if is_set}
        query = _query({"path": path, **flags})
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        response = self._open(self._jobtracker, "PUT", "/v1/files/content" + query, body, headers)
        try:
            return json.loads(response.read())
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(self._jobtracker, error) from error
        finally:
            response.close()

    def _pieces(self, path, offset, length):
        query = _query({"path": path, "offset": offset, "length": length})
        response = self._patiently(lambda: self._open(self._jobtracker, "GET", "/v1/files/content" + query))
        try:
            left = int(response.headers["Content-Length"])
            while left > 0:
                piece = response.read(min(_PIECE, left))
                if not piece:
                    raise _unreachable(self._jobtracker, f"{left} bytes of {path} are missing")
                left -= len(piece)
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(self._jobtracker, error) from error
        finally:
            response.close()

    def _open(self, address, method, path, body=None, headers=None):
        """Sends a request and returns the response, whose body is to be read; a refusal is raised."""
        headers = dict(headers or {})
        token = self._token
        if self._token_file:
            with open(self._token_file, encoding="utf-8") as file:
                token = file.read().strip()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            if address.is_tls:
                connection = http.client.HTTPSConnection(
                    address.host, address.port, timeout=self._timeout, context=self._tls
                )
            else:
                connection = http.client.HTTPConnection(address.host, address.port, timeout=self._timeout)
            # The response closes the connection: without this it might be kept for a next request.
            headers["Connection"] = "close"
            try:
                connection.request(method, path, body=body, headers=headers)
            except (BrokenPipeError, ConnectionResetError):
                # Who refuses a long body may answer before all of it has come.
                pass
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(address, error) from error
        if response.status < 400:
            return response
        try:
            raise _refusal(response, response.read())
        finally:
            response.close()


def _refusal(response, body):
    request_id = response.headers.get("x-request-id")
    try:
        problem = json.loads(body)
        return HowdahError(
            problem["type"],
            problem.get("title", response.reason),
            response.status,
            problem["detail"],
            problem.get("retry_after"),
            request_id,
        )
    except (ValueError, KeyError, TypeError):
        text = body[:500].decode(errors="replace") or response.reason
        return HowdahError("unknown", response.reason, response.status, text, None, request_id)


def _unreachable(address, error):
    return HowdahError("unreachable", "Unreachable", 0, f"{address.url} does not answer: {error}")


def _query(query):
    given = {name: value for name, value in query.items() if value is not None}
    return "?" + urllib.parse.urlencode(given) if given else ""


def _part(text):
    return urllib.parse.quote(str(text), safe="")
