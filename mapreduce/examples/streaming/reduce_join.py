"""Reduce-side join: the map says of each line which input it is from, 0 for users and 1 for orders; that is sorted by, and
not partitioned by, so that a user comes before its orders."""
import os
import sys

if sys.argv[1] == "map":
    side = "0" if "/users" in os.environ["mapreduce_map_input_file"] else "1"
    for line in sys.stdin:
        key, rest = line.rstrip("\n").split("\t", 1)
        print(key, side, rest, sep="\t")
else:
    user = name = None
    for line in sys.stdin:
        key, side, rest = line.rstrip("\n").split("\t", 2)
        if side == "0":
            user, name = key, rest
        elif key == user:
            print(name, rest, sep="\t")
