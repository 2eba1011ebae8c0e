//! Whatever is written twice is compared. `config` is a leaf and has the rules of names of its own;
//! they must be those of `ids`.

use ids::{HostName, RackName};

/// Texts of all lengths up to 12 over the characters that the rules speak of, from a fixed seed, and
/// some that stand at the limits.
fn texts() -> Vec<String> {
    const LETTERS: [char; 14] =
        ['a', 'Z', '0', '9', '-', '_', '.', '/', ' ', ':', '\0', 'é', '\n', '/'];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut texts: Vec<String> = (0..20_000)
        .map(|_| (0..next(13)).map(|_| LETTERS[next(LETTERS.len())]).collect())
        .collect();
    for length in [252, 253, 254] {
        texts.push("a".repeat(length));
        texts.push(format!("/{}", "a".repeat(length - 1)));
    }
    texts
}

#[test]
fn the_configuration_accepts_the_same_host_names_as_the_daemons() {
    let mut accepted = 0;
    for text in texts() {
        let daemons = text.parse::<HostName>().is_ok();
        assert_eq!(config::is_host_name(&text), daemons, "{text:?}");
        accepted += usize::from(daemons);
    }
    assert!(accepted > 100, "both kinds were tried");
}

#[test]
fn the_configuration_accepts_the_same_rack_names_as_the_daemons() {
    let mut accepted = 0;
    for text in texts() {
        let daemons = text.parse::<RackName>().is_ok();
        assert_eq!(config::is_rack_name(&text), daemons, "{text:?}");
        accepted += usize::from(daemons);
    }
    assert!(accepted > 100, "both kinds were tried");
}
