"""What the examples must write, by other means than Howdah's: `examples.py NAME FOLDER` prints it. `examples.py make FOLDER` makes
the inputs, always the same ones."""

import os
import posixpath
import re
import sys
from collections import Counter, defaultdict
from html.parser import HTMLParser

HERE = sys.argv[2]


def numbers(n, seed=1):
    state = seed
    for _ in range(n):
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        yield state >> 33


def write(path, lines):
    path = os.path.join(HERE, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", newline="") as file:
        file.writelines(line + "\n" for line in lines)


def make():
    for part in range(3):
        words = [f"w{min(n % 40, m % 25)}" for n, m in zip(numbers(4000, part), numbers(4000, part + 9))]
        lines, at = [], 0
        for n in numbers(500, part + 20):
            lines.append(" ".join(words[at : at + n % 9]))
            at += n % 9
        write(f"prose/{part}", lines)
    for part in range(5):
        letters = (f"{chr(97 + n % 20)}{chr(65 + n // 20 % 9)}, {part}" for n in numbers(60, part))
        write(f"books/{part}.txt", letters)
    write("sums/a", (f"k{n % 9}\t{n // 9 % 101 - 50}" for n in numbers(900)))
    write("table/a", (f"{n % 3}\t{n % 1000}\t{n // 7 % 5}" for n in numbers(900)))
    days = enumerate(numbers(900))
    write("days/a", (f"s{n % 7}\td{day:04}\t{n // 7 % 5000 - 2000}" for day, n in days))
    write("users/a", (f"u{n}\tname {n}" for n in range(60)))
    write("orders/a", (f"u{n % 80}\torder {n}" for n in numbers(700)))
    write("brought/users.tsv", (f"u{n}\tname {n}" for n in range(60)))
    write("scores/a", (f"n{at}\t{n % 2000 - 1000}" for at, n in enumerate(numbers(900))))
    write("points/a", (f"{n % 97 / 4}\t{n // 97 % 89 / 4}" for n in numbers(600)))
    write("ranges/a", ("0 400", "400 300", "700 300"))
    links = {page: sorted({f"p{n % 40}" for n in numbers(page % 6, page + 1)}) for page in range(30)}
    write("links/a", (f"p{page}\t{' '.join(found)}" for page, found in links.items()))
    for page, found in links.items():
        body = "".join(f'<p>to <A class="x" href="{it}.html#part">{it}</A></p>' for it in found)
        more = '<a href="https://elsewhere.example/x.html">x</a><link href="style.css"><a href=\'#top\'>top</a>'
        write(f"html/p{page}.html", ("<html><body>", body, more, "</body></html>"))


def lines(folder):
    for name in sorted(os.listdir(os.path.join(HERE, folder))):
        with open(os.path.join(HERE, folder, name), newline="") as file:
            for line in file:
                yield line.rstrip("\n")


def rows(folder):
    return [line.split("\t") for line in lines(folder)]


def show(*fields):
    print(*fields, sep="\t")


def words():
    return Counter(word for line in lines("prose") for word in line.split())


def neighbours():
    for line in lines("prose"):
        found = line.split()
        yield from zip(found, found[1:])


def grep():
    for name in sorted(os.listdir(os.path.join(HERE, "prose"))):
        at = 0
        with open(os.path.join(HERE, "prose", name)) as file:
            for line in file:
                if "w7 w1" in line:
                    show(name, at, line.rstrip("\n"))
                at += len(line)


def cooccurrence():
    counts = Counter()
    for left, right in neighbours():
        counts[left, right] += 1
        counts[right, left] += 1
    for (left, right), count in counts.items():
        show(left, right, count)


def relative_frequency():
    pairs = Counter(neighbours())
    totals = Counter(left for left, _ in neighbours())
    for (left, right), count in pairs.items():
        show(left, right, repr(count / totals[left]))


def sum_by_key():
    sums = defaultdict(int)
    for key, number in rows("sums"):
        sums[key] += int(number)
    for key, total in sums.items():
        show(key, total)


def projection():
    for third, first in {(row[2], row[0]) for row in rows("table")}:
        show(third, first)


def max_temperature():
    best = {}
    for station, day, degrees in rows("days"):
        place = (-int(degrees), day)
        best[station] = min(best.get(station, place), place)
    for station, (degrees, day) in best.items():
        show(station, day, -degrees)


def join():
    names = dict(rows("users"))
    for user, order in rows("orders"):
        if user in names:
            show(names[user], order)


def inverted_index():
    found = defaultdict(set)
    for name in os.listdir(os.path.join(HERE, "books")):
        with open(os.path.join(HERE, "books", name)) as file:
            for word in re.findall("[A-Za-z]+", file.read()):
                found[word.lower()].add(name)
    for word, names in found.items():
        show(word, " ".join(sorted(names)))


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = set()

    def handle_starttag(self, tag, attributes):
        link = dict(attributes).get("href", "") if tag == "a" else ""
        link = posixpath.normpath(re.split("[#?]", link)[0]) if re.split("[#?]", link)[0] else ""
        if link and ":" not in link and "/" not in link:
            self.found.add(link)


def link_graph():
    for name in sorted(os.listdir(os.path.join(HERE, "html"))):
        parser = Links()
        with open(os.path.join(HERE, "html", name)) as file:
            parser.feed(file.read())
        show(name, " ".join(sorted(parser.found - {name})))


def pagerank():
    links = {page: found.split() for page, found in rows("links")}
    pages = sorted(set(links) | {link for found in links.values() for link in found})
    n = len(pages)
    ranks = dict.fromkeys(pages, 1 / n)
    while True:
        lost = sum(rank for page, rank in ranks.items() if not links.get(page))
        new = dict.fromkeys(pages, 0.15 / n + 0.85 * lost / n)
        for page, found in links.items():
            for link in found:
                new[link] += 0.85 * ranks[page] / len(found)
        moved = max(abs(new[page] - ranks[page]) for page in pages)
        ranks = new
        if moved <= 1e-10:
            break
    for page in pages:
        show(page, " ".join(links.get(page, [])), repr(ranks[page]))


def kmeans():
    text = sorted(rows("points"), key=lambda row: (float(row[0]), "\t".join(row)))
    points = [(float(x), float(y)) for x, y in rows("points")]
    centres = [(float(x), float(y)) for x, y in text[:3]]
    while True:
        sums = defaultdict(lambda: [0.0, 0.0, 0])
        for x, y in points:
            far = [(x - a) ** 2 + (y - b) ** 2 for a, b in centres]
            it = sums[far.index(min(far))]
            it[0], it[1], it[2] = it[0] + x, it[1] + y, it[2] + 1
        new = [(sums[n][0] / sums[n][2], sums[n][1] / sums[n][2]) for n in sorted(sums)]
        moved = max((abs(a - c) + abs(b - d) for (a, b), (c, d) in zip(centres, new)), default=0)
        centres = new
        if moved <= 1e-9:
            break
    for n, (x, y) in enumerate(centres):
        show(n, repr(x), repr(y))


PROGRAMS = {
    "make": make,
    "grep": grep,
    "regex": lambda: [print(line) for line in lines("prose") if re.search("w[13] ", line)],
    "word_count": lambda: [show(word, n) for word, n in words().items()],
    "by_frequency": lambda: [show(n, word) for word, n in sorted(words().items(), key=lambda it: (-it[1], it[0]))],
    "cooccurrence": cooccurrence,
    "relative_frequency": relative_frequency,
    "sum_by_key": sum_by_key,
    "selection": lambda: [print(line) for line in lines("table") if int(line.split("\t")[1]) >= 450],
    "projection": projection,
    "max_temperature": max_temperature,
    "join": join,
    "top_n": lambda: [show(name, -n) for n, name in sorted((-int(n), name) for name, n in rows("scores"))[:10]],
    "inverted_index": inverted_index,
    "link_graph": link_graph,
    "pagerank": pagerank,
    "kmeans": kmeans,
}

PROGRAMS[sys.argv[1]]()
