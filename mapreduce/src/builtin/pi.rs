//! An estimate of pi: which part of a square's points are in the circle in it (Hadoop: `QuasiMonteCarlo`).

use super::range;
use crate::{Job, Text};

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

/// How many points of each line's range are inside, added up.
pub(super) fn job() -> Job {
    Job::map::<u8, (u64, u64)>(|line, out| {
        let range = range::of(line)?;
        let points = range.end - range.start;
        out.emit(0, (range.filter(|index| is_inside(*index)).count() as u64, points));
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
}
