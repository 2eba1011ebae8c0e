//! Keys: comparing encodings compares keys, and what is encoded is decoded again.

use std::fmt::Debug;

use mapreduce::{Bytes, Datum, Key, Text};
use proptest::collection::vec;
use proptest::prelude::*;

fn encoded<K: Datum>(key: K::Ref<'_>) -> Vec<u8> {
    let mut bytes = b"before".to_vec();
    K::encode(key, &mut bytes);
    assert_eq!(&bytes[..6], b"before", "an encoding is appended");
    if let Some(width) = K::WIDTH {
        assert_eq!(bytes.len(), 6 + width);
    }
    if let Some(borrowed) = K::borrowed(&key) {
        assert_eq!(borrowed, &bytes[6..]);
    }
    bytes.split_off(6)
}

/// Order and round trip of two keys.
fn check<K: Key>(a: K::Ref<'_>, b: K::Ref<'_>) {
    let (bytes_a, bytes_b) = (encoded::<K>(a), encoded::<K>(b));
    assert_eq!(bytes_a.cmp(&bytes_b), K::compare(a, b), "{bytes_a:?} against {bytes_b:?}");
    for bytes in [bytes_a, bytes_b] {
        let again = K::decode(&bytes).unwrap();
        assert_eq!(encoded::<K>(again), bytes);
        assert!(K::compare(again, K::decode(&bytes).unwrap()).is_eq());
    }
    let decoded_a = encoded::<K>(a);
    assert!(K::compare(K::decode(&decoded_a).unwrap(), a).is_eq());
}

/// Few distinct bytes, zeros and all ones among them: neighbours are common.
fn tricky() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0_u8), Just(1), Just(0xff), Just(0xfe), any::<u8>()], 0..6)
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![any::<u64>().prop_map(f64::from_bits), any::<f64>(), Just(0.0), Just(-0.0)]
}

proptest! {
    #[test]
    fn integers(a: u64, b: u64, c: i64, d: i64) {
        check::<u64>(a, b);
        check::<i64>(c, d);
        check::<u32>(a as u32, b as u32);
        check::<u16>(a as u16, b as u16);
        check::<u8>(a as u8, b as u8);
        check::<i32>(c as i32, d as i32);
        check::<i64>(c % 3, d % 3);
    }

    #[test]
    fn floats_in_total_order(a in float(), b in float()) {
        check::<f64>(a, b);
        check::<f64>(a, -a);
    }

    #[test]
    fn bytes_and_text(a in tricky(), b in tricky(), c: String, d: String) {
        check::<Bytes>(&a, &b);
        check::<Text>(&c, &d);
    }

    #[test]
    fn pairs(a in tricky(), b in tricky(), c in tricky(), d in tricky(), n: i32, m: i32) {
        check::<(Bytes, Bytes)>((&a, &b), (&c, &d));
        check::<(Bytes, Bytes)>((&a, &b), (&a, &d));
        check::<(Bytes, i32)>((&a, n), (&c, m));
        check::<(i32, Bytes)>((n, &a), (m, &c));
        check::<(i32, (u8, ()))>((n, (1, ())), (m, (0, ())));
        check::<((Bytes, Bytes), Bytes)>(((&a, &b), &c), ((&a, &d), &b));
        check::<(Bytes, (Bytes, Bytes))>((&a, (&b, &c)), (&a, (&b, &d)));
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in tricky()) {
        fn read<K: Datum>(bytes: &[u8]) where for<'a> K::Ref<'a>: Debug {
            if let Ok(key) = K::decode(bytes) {
                K::write_text(key, &mut Vec::new());
            }
        }
        read::<(Bytes, Bytes)>(&bytes);
        read::<((Bytes, u16), Text)>(&bytes);
        read::<(u32, Text)>(&bytes);
        read::<f64>(&bytes);
        read::<()>(&bytes);
    }
}

#[test]
fn text_of_pairs_has_no_tab_beside_nothing() {
    fn text<K: Datum>(key: K::Ref<'_>) -> (bool, String) {
        let mut out = Vec::new();
        let wrote = K::write_text(key, &mut out);
        (wrote, String::from_utf8(out).unwrap())
    }
    assert_eq!(text::<(u8, Text)>((1, "x")), (true, "1\tx".to_owned()));
    assert_eq!(text::<(u8, ())>((1, ())), (true, "1".to_owned()));
    assert_eq!(text::<((), Text)>(((), "x")), (true, "x".to_owned()));
    assert_eq!(text::<((), ())>(((), ())), (false, String::new()));
    assert_eq!(text::<f64>(1.0), (true, "1.0".to_owned()));
    assert_eq!(text::<(i64, Text)>((-3, "")), (true, "-3\t".to_owned()));
}
