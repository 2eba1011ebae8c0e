//! Walker's alias table in Vose's form: draws from any discrete distribution with one table look-up,
//! so that text is generated faster than a disk takes it.

use super::random::Random;

/// Draws indices with given weights.
pub(super) struct AliasTable {
    cells: Vec<Cell>,
}

/// One cell: its own index below the threshold, the alias above.
#[derive(Clone, Copy)]
struct Cell {
    threshold: u32,
    alias: u32,
}

impl AliasTable {
    /// A table that draws `i` with a probability proportional to `weights[i]`, all positive.
    pub(super) fn new(weights: &[f64]) -> Self {
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let mut scaled: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let mut cells: Vec<Cell> = (0..weights.len())
            .map(|index| Cell { threshold: u32::MAX, alias: index as u32 })
            .collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|&index| scaled[index] < 1.0);
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            let threshold = (scaled[poor] * f64::from(u32::MAX)) as u32;
            cells[poor] = Cell { threshold, alias: rich as u32 };
            scaled[rich] -= 1.0 - scaled[poor];
            if scaled[rich] < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        Self { cells }
    }

    /// One index.
    pub(super) fn draw(&self, random: &mut Random) -> usize {
        let bits = random.bits();
        let index = ((u128::from(bits >> 32) * self.cells.len() as u128) >> 32) as usize;
        let cell = self.cells[index];
        if bits as u32 <= cell.threshold { index } else { cell.alias as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_weights() {
        let weights = [8.0, 4.0, 2.0, 1.0, 1.0];
        let table = AliasTable::new(&weights);
        let mut random = Random::new(1);
        let mut drawn = [0_u32; 5];
        for _ in 0..160_000 {
            drawn[table.draw(&mut random)] += 1;
        }
        for (weight, drawn) in weights.iter().zip(drawn) {
            let expected = weight * 10_000.0;
            assert!((f64::from(drawn) - expected).abs() < expected * 0.05, "{drawn} {expected}");
        }
    }
}
