"""Distributed grep: the lines that a regular expression matches."""
import re
import sys

wanted = re.compile(sys.argv[1].encode())
for line in sys.stdin.buffer:
    if wanted.search(line):
        sys.stdout.buffer.write(line)
