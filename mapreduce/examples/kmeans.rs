//! One round of k-means: each point `x<TAB>y` goes to the nearest centre, and each centre moves to the mean of its
//! points. The centres are what the round before has written, a file that the job brings along
//! (`files: [PATH#centres]`); how many of them still move is counted. `kmeans.yaml` runs rounds until none does.

use std::path::Path;
use std::process::ExitCode;

use mapreduce::{Datum, Job, Mapper, Output, Record, Reducer, UserError, Values};

/// A centre that moves less stands still.
const STILL: f64 = 1e-9;

/// Points added up, so that the map side can: means alone could not be.
#[derive(Clone, Copy, Datum)]
struct Sum {
    x: f64,
    y: f64,
    points: u64,
}

impl Sum {
    fn plus(self, other: Self) -> Self {
        Self { x: self.x + other.x, y: self.y + other.y, points: self.points + other.points }
    }
}

/// The last two fields of a line.
fn point(line: &str) -> Result<(f64, f64), UserError> {
    let mut fields = line.rsplit('\t');
    let (y, x) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    Ok((x.parse()?, y.parse()?))
}

fn centres(file: &Path) -> Result<Vec<(f64, f64)>, UserError> {
    std::fs::read_to_string(file)?.lines().map(point).collect()
}

fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    (a.0 - b.0).powi(2) + (a.1 - b.1).powi(2)
}

#[derive(Default)]
struct Nearest {
    centres: Vec<(f64, f64)>,
}

impl Mapper for Nearest {
    type Key = u32;
    type Value = Sum;

    fn setup(&mut self, out: &mut Output<'_, u32, Sum>) -> Result<(), UserError> {
        self.centres = centres(out.task().file("centres")?)?;
        Ok(())
    }

    fn map(&mut self, line: Record<'_>, out: &mut Output<'_, u32, Sum>) -> Result<(), UserError> {
        let (x, y) = point(str::from_utf8(line.value)?)?;
        let far = |centre: &(f64, f64)| distance(*centre, (x, y));
        let numbered = (0..).zip(&self.centres);
        let nearest = numbered.min_by(|(_, a), (_, b)| far(a).total_cmp(&far(b)));
        let (nearest, _) = nearest.ok_or("the file of centres is empty")?;
        out.emit(nearest, Sum { x, y, points: 1 });
        Ok(())
    }
}

#[derive(Default)]
struct Mean {
    centres: Vec<(f64, f64)>,
}

impl Reducer for Mean {
    type InKey = u32;
    type InValue = Sum;
    type OutKey = u32;
    type OutValue = (f64, f64);

    fn setup(&mut self, out: &mut Output<'_, u32, (f64, f64)>) -> Result<(), UserError> {
        self.centres = centres(out.task().file("centres")?)?;
        Ok(())
    }

    fn reduce(
        &mut self,
        centre: u32,
        sums: &mut Values<'_, u32, Sum>,
        out: &mut Output<'_, u32, (f64, f64)>,
    ) -> Result<(), UserError> {
        let sum = sums.reduce(Sum::plus).ok_or("no points")?;
        let mean = (sum.x / sum.points as f64, sum.y / sum.points as f64);
        let has_moved = distance(mean, self.centres[centre as usize]).sqrt() > STILL;
        out.count("kmeans", "MOVED", u64::from(has_moved));
        out.emit(centre, mean);
        Ok(())
    }
}

pub(crate) fn job(_: &[String]) -> Result<Job, UserError> {
    let job = Job::new(Nearest::default)
        .combine(|earlier, later, one| one.set(earlier.plus(later)))
        .reducer(Mean::default);
    Ok(job.into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
