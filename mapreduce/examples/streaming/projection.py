"""Projection: `projection.py map` takes the third and the first field; the reducer writes each combination once."""
import sys
from itertools import groupby

if sys.argv[1] == "map":
    for line in sys.stdin:
        fields = line.rstrip("\n").split("\t")
        print(fields[2], fields[0], sep="\t")
else:
    for line, _ in groupby(sys.stdin):
        sys.stdout.write(line)
