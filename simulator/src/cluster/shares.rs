//! What is due to each pool: the slots are shared by weight among the pools that want them, and
//! none gets more than it wants.

/// What one pool wants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Wish {
    pub(crate) weight: f64,
    pub(crate) slots: f64,
}

/// How much of `slots` each pool gets.
pub(crate) fn due(slots: f64, wishes: &[Wish]) -> Vec<f64> {
    let mut due = vec![0.0; wishes.len()];
    let mut open: Vec<usize> = (0..wishes.len()).filter(|n| wishes[*n].slots > 0.0).collect();
    let mut left = slots;
    while !open.is_empty() {
        let weights: f64 = open.iter().map(|n| wishes[*n].weight).sum();
        let share = |n: usize| left * wishes[n].weight / weights;
        let (content, wanting): (Vec<_>, Vec<_>) =
            open.iter().copied().partition(|n| wishes[*n].slots <= share(*n));
        if content.is_empty() {
            wanting.iter().for_each(|n| due[*n] = share(*n));
            break;
        }
        content.iter().for_each(|n| due[*n] = wishes[*n].slots);
        left -= content.iter().map(|n| wishes[*n].slots).sum::<f64>();
        open = wanting;
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_go_by_weight_and_what_one_does_not_want_to_the_others() {
        let wish = |(weight, slots): &(f64, f64)| Wish { weight: *weight, slots: *slots };
        for (wishes, expected) in [
            (&[(1.0, 100.0), (1.0, 100.0)][..], &[50.0, 50.0][..]),
            (&[(1.0, 100.0), (3.0, 100.0)], &[25.0, 75.0]),
            (&[(1.0, 10.0), (1.0, 100.0), (1.0, 100.0)], &[10.0, 45.0, 45.0]),
            (&[(1.0, 10.0), (1.0, 0.0)], &[10.0, 0.0]),
        ] {
            assert_eq!(due(100.0, &wishes.iter().map(wish).collect::<Vec<_>>()), expected);
        }
    }
}
