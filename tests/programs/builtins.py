"""What builtin programs must write, by other means than Howdah's: `builtins.py NAME FILE...` prints it."""

import sys
import zlib
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction

MASK = (1 << 64) - 1


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def lines(files):
    for name in files:
        with open(name, "rb") as file:
            yield from file.read().splitlines(keepends=True)


def numbers(files):
    found = defaultdict(list)
    for line in lines(files):
        fields = line.decode().rstrip("\n").split("\t")
        found[fields[0]].append(Decimal(fields[1]))
    return found


def shown(number):
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def by_key(files, make):
    for key, found in sorted(numbers(files).items()):
        print(f"{key}\t{make(found)}")


def mean(found):
    return repr(float(sum(map(Fraction, found)) / len(found)))


def ranges(files):
    for line in lines(files):
        first, count = map(int, line.split())
        yield from range(first, first + count)


def teragen(files):
    for ordinal in ranges(files):
        high = mix(ordinal ^ mix(42))
        low = mix(high ^ 0xD1B54A32D192ED03)
        digits, key = high << 64 | low, b""
        for _ in range(10):
            key += bytes([32 + digits % 95])
            digits //= 95
        letters = f"{mix(low):016X}"[::-1]
        filler = "".join(4 * letters[n] for n in range(13))
        record = key + b"  " + f"{ordinal:032X}".encode() + b"  " + filler.encode() + b"\r\n"
        sys.stdout.buffer.write(record)


def teravalidate(files):
    before, total, checksum, wrong = b"", 0, 0, 0
    for name in sorted(files):
        here, first, at = 0, None, 0
        for line in lines([name]):
            if line[:10] < before:
                first = at if first is None else first
                here += 1
            before, at, total = line[:10], at + len(line), total + 1
            checksum = (checksum + zlib.crc32(line.removesuffix(b"\n"))) & MASK
        if here:
            print(f"misplaced\t{name.split('/')[-1]}\t{here}\tfrom byte {first}")
        wrong += here
    print(f"sorted\t{'no' if wrong else 'yes'}\nrecords\t{total}\nchecksum\t{checksum:x}")


def mirrored(index, base):
    value, unit = Fraction(0), Fraction(1)
    while index:
        unit /= base
        value += unit * (index % base)
        index //= base
    return value


def pi(files):
    half, inside, points = Fraction(1, 2), 0, 0
    for index in ranges(files):
        x, y = mirrored(index, 2) - half, mirrored(index, 3) - half
        inside += x * x + y * y <= Fraction(1, 4)
        points += 1
    print(f"pi\t{4 * inside / points!r}\ninside\t{inside}\npoints\t{points}")


PROGRAMS = {
    "sum": lambda files: by_key(files, lambda found: shown(sum(found))),
    "min": lambda files: by_key(files, lambda found: shown(min(found))),
    "max": lambda files: by_key(files, lambda found: shown(max(found))),
    "mean": lambda files: by_key(files, mean),
    "teragen": teragen,
    "teravalidate": teravalidate,
    "pi": pi,
}

PROGRAMS[sys.argv[1]](sys.argv[2:])
