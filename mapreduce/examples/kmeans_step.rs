//! One step of k-means: each point `x<TAB>y` goes to the nearest centre, and each centre moves to the mean of its
//! points; `args: ['0,0', '5,5', …]` are the centres. Run it with what the last step wrote until they rest.

use std::process::ExitCode;

use mapreduce::{Datum, Job, UserError};

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

fn parse(point: &str, between: char) -> Result<(f64, f64), UserError> {
    let (x, y) = point.split_once(between).ok_or_else(|| format!("'{point}' is no point"))?;
    Ok((x.parse()?, y.parse()?))
}

pub(crate) fn job(arguments: &[String]) -> Result<Job, UserError> {
    let centres = arguments.iter().map(|it| parse(it, ',')).collect::<Result<Vec<_>, _>>()?;
    let job = Job::map::<u32, Sum>(move |line, out| {
        let (x, y) = parse(str::from_utf8(line.value)?, '\t')?;
        let distance = |centre: &(f64, f64)| (x - centre.0).powi(2) + (y - centre.1).powi(2);
        let numbered = (0..).zip(&centres);
        let nearest = numbered.min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)));
        let (nearest, _) = nearest.ok_or("give the centres as args: x,y")?;
        out.emit(nearest, Sum { x, y, points: 1 });
        Ok(())
    })
    .combine(|earlier, later, one| one.set(earlier.plus(later)))
    .reduce::<u32, (f64, f64)>(|centre, sums, out| {
        let sum = sums.reduce(Sum::plus).ok_or("no points")?;
        out.emit(centre, (sum.x / sum.points as f64, sum.y / sum.points as f64));
        Ok(())
    });
    Ok(job.into())
}

fn main() -> ExitCode {
    mapreduce::main(job)
}
