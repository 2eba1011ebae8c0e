"""Word count: `word_count.py map` and, as combiner and reducer, `word_count.py reduce`; lines come sorted by key."""
import sys
from itertools import groupby

out = sys.stdout.buffer
if sys.argv[1] == "map":
    for line in sys.stdin.buffer:
        for word in line.split():
            out.write(word + b"\t1\n")
else:
    pairs = (line.rstrip(b"\n").rsplit(b"\t", 1) for line in sys.stdin.buffer)
    for word, group in groupby(pairs, key=lambda pair: pair[0]):
        out.write(b"%s\t%d\n" % (word, sum(int(count) for _, count in group)))
