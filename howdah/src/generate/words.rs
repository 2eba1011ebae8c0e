//! The vocabulary of generated text: pronounceable words of syllables, frequent ones short, as in
//! natural languages (Zipf's law of abbreviation).

use std::collections::HashSet;

use super::random::Random;

const ONSETS: &[&str] = &[
    "b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "br", "dr",
    "fl", "gr", "kl", "pr", "sh", "sk", "st", "th", "tr", "",
];
const VOWELS: &[&str] = &["a", "e", "i", "o", "u", "ae", "ei", "io", "ou"];
const CODAS: &[&str] = &["", "", "", "l", "m", "n", "r", "s", "t", "nd", "rk", "st"];

/// `n` different words, in the order of their rank.
pub(super) fn vocabulary(n: usize, random: &mut Random) -> Vec<Box<[u8]>> {
    let mut taken = HashSet::with_capacity(n);
    (0..n)
        .map(|rank| {
            let mut syllables = syllables_of(rank, random);
            loop {
                let word = word_of(syllables, random);
                if taken.insert(word.clone()) {
                    return word;
                }
                // Short words run out: after a clash in three, the word grows.
                syllables += usize::from(random.below(3) == 0);
            }
        })
        .collect()
}

/// One syllable up to rank 30 or so, two to rank 1000, three beyond, with some spread.
fn syllables_of(rank: usize, random: &mut Random) -> usize {
    const BOUNDS: [usize; 3] = [30, 1000, 60_000];
    let blurred = rank * (50 + random.below(100)) / 100;
    1 + BOUNDS.iter().filter(|&&bound| blurred >= bound).count()
}

fn word_of(syllables: usize, random: &mut Random) -> Box<[u8]> {
    let mut word = String::new();
    for _ in 0..syllables {
        for sounds in [ONSETS, VOWELS, CODAS] {
            word.push_str(random.pick(sounds));
        }
    }
    word.into_bytes().into_boxed_slice()
}
