"""Tests of howdah.py against real daemons: python3 test_howdah.py JOBTRACKER CHUNKMASTER [TOKEN_FILE].

tests/tests/python_client.rs starts the cluster and runs this.
"""

import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import howdah  # noqa: E402

JOBTRACKER, CHUNKMASTER, *TOKEN = sys.argv[1:]
PATIENCE = 300


def cluster(**options):
    """A client of the cluster under test."""
    token_file = TOKEN[0] if TOKEN else None
    return howdah.Howdah(JOBTRACKER, CHUNKMASTER, **{"token_file": token_file, **options})


def word_count(name, **more):
    """A job that counts the words of /in."""
    program = {"builtin": {"name": "wordcount"}}
    return {"name": name, "input": ["/in"], "output": f"/out/{name}", "program": program, **more}


class Case(unittest.TestCase):
    """A test with a client, a folder, and input."""

    def setUp(self):
        self.cluster = cluster()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        if not self.cluster.exists("/in/text"):
            self.cluster.write(b"one two\ntwo\n", "/in/text")

    def local(self, name, text):
        """A local file."""
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(text)
        return path

    def output(self, name):
        """The lines of a job's output, sorted."""
        folder = f"/out/{name}"
        parts = [it["path"] for it in self.cluster.ls(folder) if "/part-" in it["path"]]
        return sorted(b"".join(map(self.cluster.read, parts)).splitlines())

    def refused(self, kind, status, ask, *arguments, **options):
        """The error of what must be refused."""
        with self.assertRaises(howdah.HowdahError) as caught:
            ask(*arguments, **options)
        self.assertEqual((caught.exception.type, caught.exception.status), (kind, status))
        self.assertTrue(caught.exception.detail)
        return caught.exception


class Files(Case):
    """Files and folders."""

    def test_a_file_comes_back_as_it_went(self):
        data = os.urandom(3 << 20) + b"end"
        source, back = self.local("source", data), os.path.join(self.folder, "back")
        put = self.cluster.put(source, "/files/a b/ü?&#.bin")
        self.assertEqual(put["length"], len(data))
        self.cluster.get("/files/a b/ü?&#.bin", back)
        with open(back, "rb") as file:
            self.assertEqual(file.read(), data)
        self.assertEqual(self.cluster.read("/files/a b/ü?&#.bin", offset=len(data) - 3), b"end")
        self.assertEqual(self.cluster.read("/files/a b/ü?&#.bin", offset=1, length=5), data[1:6])
        self.assertEqual([it["path"] for it in self.cluster.ls("/files/a b")], ["/files/a b/ü?&#.bin"])
        self.assertEqual(self.cluster.stat("/files/a b")["kind"], "folder")
        self.refused("already-exists", 409, self.cluster.put, source, "/files/a b/ü?&#.bin")

    def test_what_is_missing_is_an_error_and_leaves_nothing_here(self):
        error = self.refused("not-found", 404, self.cluster.get, "/none", os.path.join(self.folder, "none"))
        self.assertEqual(error.title, "Not Found")
        self.assertIn("/none", str(error))
        self.assertRegex(error.request_id, "^[0-9a-f-]{8,64}$")
        self.assertEqual(os.listdir(self.folder), [])
        self.assertFalse(self.cluster.exists("/none"))
        self.refused("not-found", 404, self.cluster.write, b"x", "/no/folder/x", parents=False)

    def test_a_file_is_replaced_and_deleted_on_request(self):
        self.cluster.write(b"one", "/replaced")
        self.refused("already-exists", 409, self.cluster.write, b"two", "/replaced")
        replaced = self.cluster.write(bytearray(b"two"), "/replaced", replace=True)
        self.assertEqual((replaced["path"], self.cluster.read("/replaced")), ("/replaced", b"two"))
        self.cluster.put(self.local("three", b"three"), "/replaced", replace=True)
        self.assertEqual(self.cluster.read("/replaced"), b"three")
        self.cluster.delete("/replaced")
        self.assertFalse(self.cluster.exists("/replaced"))
        self.refused("not-found", 404, self.cluster.delete, "/replaced", skip_trash=True)

    def test_arguments_of_write_that_are_the_wrong_way_round_or_text_are_refused(self):
        for data, path in [("/wrong", b"data"), ("text", "/wrong"), (b"data", b"/wrong")]:
            with self.assertRaises(TypeError) as caught:
                self.cluster.write(data, path)
            self.assertIn("write(data, path)", str(caught.exception))
        self.assertFalse(self.cluster.exists("/wrong"))

    def test_names_change(self):
        self.cluster.mkdir("/names/deep")
        self.cluster.write(b"", "/names/deep/empty")
        self.assertEqual(self.cluster.read("/names/deep/empty"), b"")
        self.cluster.mv("/names/deep/empty", "/names/moved")
        self.refused("folder-not-empty", 409, self.cluster.rm, "/names")
        self.cluster.rm("/names", recursive=True)
        self.assertFalse(self.cluster.exists("/names/moved"))

    def test_a_long_folder_is_listed_whole(self):
        self.cluster.mkdir("/many")
        for n in range(505):
            self.cluster.mkdir(f"/many/{n:03}")
        listed = [it["path"] for it in self.cluster.ls("/many")]
        self.assertEqual(listed, [f"/many/{n:03}" for n in range(505)])


class Jobs(Case):
    """Jobs from their submission to their history."""

    def test_words_are_counted(self):
        spec = word_count("counted", reduces=2)
        self.assertEqual(self.cluster.check(spec)["name"], "counted")
        job = self.cluster.submit(spec)
        status = self.cluster.wait(job, PATIENCE)
        self.assertEqual(status["state"], "SUCCEEDED")
        self.assertEqual(self.output("counted"), [b"one\t1", b"two\t2"])
        self.assertIn(job, [it["id"] for it in self.cluster.jobs(state="SUCCEEDED", limit=50)])
        self.assertEqual(self.cluster.counters(job)["task.MAP_INPUT_RECORDS"], 2)
        self.assertEqual({it["state"] for it in self.cluster.attempts(job)}, {"SUCCEEDED"})
        self.assertEqual(self.cluster.explain(job)["job"], job)
        error = self.refused("output-exists", 409, self.cluster.submit, spec)
        self.assertIn("/out/counted", error.detail)

    def test_the_same_key_is_the_same_job(self):
        spec = word_count("keyed")
        first = self.cluster.submit(spec, key="a-key-of-ours")
        self.assertEqual(self.cluster.submit(spec, key="a-key-of-ours"), first)
        self.cluster.wait(first, PATIENCE)

    def test_a_job_is_watched_to_its_end(self):
        job = self.cluster.submit(word_count("watched"))
        states = []
        for name, event in self.cluster.watch(job):
            if name == "job":
                self.assertEqual(event["id"], job)
                states.append(event["state"])
        self.assertEqual(states[-1], "SUCCEEDED")

    def test_a_program_that_fails_tells_why(self):
        program = self.local("boom", b"#!/bin/sh\necho it went boom >&2\nexit 3\n")
        spec = {"name": "boom", "input": ["/in"], "output": "/out/boom", "max_attempts": 1}
        status = self.cluster.wait(self.cluster.submit(spec, executable=program), PATIENCE)
        self.assertEqual(status["state"], "FAILED")
        failed = [it for it in self.cluster.attempts(status["id"]) if it["state"] == "FAILED"]
        self.assertIn(b"it went boom", self.cluster.log(failed[0]["attempt"]))
        self.assertEqual(self.cluster.log(failed[0]["attempt"], offset=0, limit=2), b"it")
        # What is there already is not sent again.
        again = {**spec, "name": "again", "output": "/out/again"}
        self.cluster.wait(self.cluster.submit(again, executable=program), PATIENCE)
        programs = [it["path"] for it in self.cluster.ls("/.howdah/programs")]
        self.assertEqual(len(programs), len({it.rsplit("/", 1)[1].split(".")[0] for it in programs}))

    def test_commands_find_their_files(self):
        script = self.local("upper.sh", b"tr a-z A-Z\n")
        streaming = {"mapper": "sh upper.sh"}
        spec = {
            "name": "upper", "input": ["/in"], "output": "/out/upper", "reduces": 0,
            "program": {"streaming": streaming},
        }
        status = self.cluster.wait(self.cluster.submit(spec, files=[script]), PATIENCE)
        self.assertEqual(status["state"], "SUCCEEDED", status)
        self.assertEqual([it.strip() for it in self.output("upper")], [b"ONE TWO", b"TWO"])
        self.assertEqual(streaming, {"mapper": "sh upper.sh"}, "the caller's dict stays as it is")

    def test_a_job_is_paused_and_ended(self):
        program = self.local("sleeps", b"#!/bin/sh\nexec sleep 1000\n")
        spec = {"name": "sleeps", "input": ["/in"], "output": "/out/sleeps"}
        job = self.cluster.submit(spec, executable=program)
        self.assertEqual(self.cluster.set_priority(job, "high")["id"], job)
        self.assertTrue(self.cluster.pause(job, kill=True)["paused"])
        with self.assertRaises(TimeoutError):
            self.cluster.wait(job, 0.2)
        self.cluster.resume(job)
        self.assertEqual(self.cluster.kill(job)["id"], job)
        self.assertEqual(self.cluster.wait(job, PATIENCE)["state"], "KILLED")
        self.refused("job-ended", 409, self.cluster.kill, job)
        kept = []
        while not kept:
            kept = [it for it in self.cluster.history(limit=100) if it["id"] == job]
        self.assertEqual(self.cluster.history(job)["status"]["state"], "KILLED")

    def test_what_is_no_job_is_refused(self):
        wrong = word_count("wrong", programm={})
        self.assertIn("programm", self.refused("invalid-request", 400, self.cluster.submit, wrong).detail)
        self.refused("invalid-request", 400, self.cluster.status, "../../v1/pools")
        self.refused("not-found", 404, self.cluster.status, "job_20200101_9999")
        with self.assertRaises(ValueError):
            self.cluster.submit(word_count("files"), files=["x"])


class Cluster(Case):
    """Hosts, pools, and who may ask."""

    def test_hosts_and_pools_are_looked_after(self):
        host = self.cluster.hosts()[0]["host"]
        self.assertIn(self.cluster.drain(host)["state"], ("DRAINING", "DRAINED"))
        self.assertEqual(self.cluster.undrain(host)[0]["state"], "LIVE")
        self.assertEqual(self.cluster.forgive(host)["host"], host)
        self.refused("not-found", 404, self.cluster.drain, "no-such-host")
        pool = self.cluster.pools()[0]["pool"]
        self.assertTrue(self.cluster.pause_pool(pool)["paused"])
        self.assertFalse(self.cluster.resume_pool(pool)["paused"])
        self.assertEqual(self.cluster.kill_pool(pool)["pool"], pool)
        self.assertIn("cluster", self.cluster.cluster())

    def test_a_token_is_asked_for_where_it_must_be(self):
        stranger = howdah.Howdah(JOBTRACKER, CHUNKMASTER)
        if TOKEN:
            self.assertIn("howdah token", self.refused("forbidden", 401, stranger.hosts).detail)
            with open(TOKEN[0], encoding="utf-8") as file:
                token = file.read().strip()
            self.assertTrue(howdah.Howdah(JOBTRACKER, token=token).hosts())
        else:
            self.assertTrue(stranger.hosts())

    def test_a_daemon_that_is_not_there_is_an_error_too(self):
        nobody = howdah.Howdah("127.0.0.1:1", retry_for=0.2)
        error = self.refused("unreachable", 0, nobody.hosts)
        self.assertIn("http://127.0.0.1:1", error.detail)
        for wrong in ("ftp://a", "http://", "http://a/b"):
            with self.assertRaises(ValueError):
                howdah.Howdah(wrong)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
