//! An estimate of pi: which part of a square's points are in the circle in it (Hadoop: `QuasiMonteCarlo`).

use std::ops::Range;

use super::range;
use crate::{Job, Text};

/// Points between two pairs: a task that emits none for long passes for one that hangs.
const POINTS_AT_ONCE: u64 = 1 << 20;

/// The digits of `index` to `base`, mirrored at the point (Halton 1960).
fn mirrored(mut index: u64, base: u64) -> f64 {
    let (mut value, mut unit) = (0.0, 1.0);
    while index > 0 {
        unit /= base as f64;
        value += unit * (index % base) as f64;
        index /= base;
    }
    value
}

/// Whether the point of that number, from 0, is in the circle.
fn is_inside(index: u64) -> bool {
    let (x, y) = (mirrored(index, 2) - 0.5, mirrored(index, 3) - 0.5);
    x * x + y * y <= 0.25
}

/// The same numbers in ranges that take a moment each.
fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let Range { start, end } = range;
    // A range without a point is sent, too: it is a sum of nothing.
    let empty = (start == end).then_some(start..end);
    let n = (end - start).div_ceil(POINTS_AT_ONCE);
    let piece = move |at: u64| {
        let from = start + at * POINTS_AT_ONCE;
        from..from.saturating_add(POINTS_AT_ONCE).min(end)
    };
    empty.into_iter().chain((0..n).map(piece))
}

/// How many points of each line's range are inside, added up.
pub(super) fn job() -> Job {
    Job::map::<u8, (u64, u64)>(|line, out| {
        for range in pieces(range::of(line)?) {
            let points = range.end - range.start;
            out.emit(0, (range.filter(|index| is_inside(*index)).count() as u64, points));
        }
        Ok(())
    })
    .combine(|earlier, later, one| one.set((earlier.0 + later.0, earlier.1 + later.1)))
    .reduce::<Text, Text>(|_, counts, out| {
        let (inside, points) = counts.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        if points > 0 {
            out.emit("pi", &(4.0 * inside as f64 / points as f64).to_string());
        }
        out.emit("inside", &inside.to_string());
        out.emit("points", &points.to_string());
        Ok(())
    })
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_mirrored_at_the_point() {
        let first: Vec<f64> = (0..5).map(|index| mirrored(index, 2)).collect();
        assert_eq!(first, [0.0, 0.5, 0.25, 0.75, 0.125]);
        assert!((mirrored(5, 3) - (2.0 / 3.0 + 1.0 / 9.0)).abs() < 1e-12);
    }

    #[test]
    fn a_long_range_is_counted_piece_by_piece() {
        let points = POINTS_AT_ONCE;
        let of = |range| pieces(range).map(|it| (it.start, it.end)).collect::<Vec<_>>();
        assert_eq!(of(7..7), [(7, 7)]);
        assert_eq!(of(7..9), [(7, 9)]);
        let (second, third, end) = (points + 7, 2 * points + 7, 2 * points + 8);
        assert_eq!(of(7..end), [(7, second), (second, third), (third, end)]);
        assert_eq!(of(u64::MAX - 1..u64::MAX), [(u64::MAX - 1, u64::MAX)]);
    }
}
