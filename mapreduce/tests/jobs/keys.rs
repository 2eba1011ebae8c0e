//! Keys: comparing encodings compares keys, and what is encoded is decoded again.

use std::fmt::Debug;

use mapreduce::{Bytes, Datum, Desc, Fields, Key, Text, fields};
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
    fn integers(a: u128, b: u128) {
        fn all<K: Key>(a: K::Ref<'_>, b: K::Ref<'_>) {
            check::<K>(a, b);
            check::<Desc<K>>(a, b);
            check::<Option<K>>(Some(a), Some(b));
            check::<Option<K>>(Some(a), None);
            check::<Desc<Option<K>>>(None, Some(b));
        }
        all::<u128>(a, b);
        all::<u64>(a as u64, b as u64);
        all::<u32>(a as u32, b as u32);
        all::<u16>(a as u16, b as u16);
        all::<u8>(a as u8, b as u8);
        all::<i128>(a as i128, b as i128);
        all::<i64>(a as i64, b as i64);
        all::<i64>(a as i64 % 3, b as i64 % 3);
        all::<i32>(a as i32, b as i32);
        all::<i16>(a as i16, b as i16);
        all::<i8>(a as i8, b as i8);
        all::<bool>(a % 2 == 0, b % 2 == 0);
        all::<[u8; 16]>(a.to_be_bytes(), b.to_be_bytes());
    }

    #[test]
    fn floats_in_total_order(a in float(), b in float()) {
        check::<f64>(a, b);
        check::<f64>(a, -a);
        check::<Desc<f64>>(a, b);
        check::<f32>(a as f32, b as f32);
        check::<f32>(f32::from_bits(a.to_bits() as u32), f32::from_bits(b.to_bits() as u32));
        check::<Desc<f32>>(a as f32, b as f32);
    }

    #[test]
    fn characters(a: char, b: char) {
        check::<char>(a, b);
        check::<Desc<char>>(a, b);
    }

    #[test]
    fn the_order_turned_round(a in tricky(), b in tricky(), c in tricky(), n: i32, m: i32) {
        check::<Desc<Bytes>>(&a, &b);
        check::<Desc<Bytes>>(&a, &[&a[..], &b].concat());
        check::<Desc<Desc<Bytes>>>(&a, &b);
        check::<(Desc<Bytes>, Bytes)>((&a, &b), (&a, &c));
        check::<(Desc<Bytes>, Bytes)>((&a, &b), (&c, &b));
        check::<(Bytes, Desc<Bytes>)>((&a, &b), (&a, &c));
        check::<(Bytes, Desc<i32>)>((&a, n), (&b, m));
        check::<(Bytes, Desc<i32>)>((&a, n), (&a, m));
        check::<Desc<(Bytes, i32)>>((&a, n), (&b, m));
        check::<Desc<(u16, i32)>>((n as u16, n), (n as u16, m));
        check::<Desc<Option<Bytes>>>(Some(&a), Some(&b));
    }

    #[test]
    fn options(a in tricky(), b in tricky(), n: i32, m: i32) {
        check::<Option<Bytes>>(Some(&a), Some(&b));
        check::<Option<Bytes>>(Some(&a), None);
        check::<(Option<Bytes>, i32)>((Some(&a), n), (None, m));
        check::<(Option<i32>, Bytes)>((None, &a), (Some(n), &b));
        check::<(Option<i32>, Bytes)>((None, &a), (None, &b));
    }

    #[test]
    fn tuples(
        a in tricky(), b in tricky(), c in tricky(), d in tricky(), e in tricky(), n: i32, m: i32
    ) {
        check::<(Bytes, Bytes, Bytes)>((&a, &b, &c), (&a, &b, &d));
        check::<(Bytes, Bytes, Bytes)>((&a, &b, &c), (&a, &d, &c));
        check::<(Bytes, Bytes, Bytes)>((&a, &b, &c), (&d, &b, &c));
        check::<(Bytes, i32, Bytes, i32)>((&a, n, &b, m), (&a, n, &c, n));
        check::<(i32, Bytes, Bytes, i32, Bytes)>((n, &a, &b, m, &c), (n, &a, &d, m, &e));
        check::<(Bytes, Bytes, Bytes, Bytes, Bytes, Bytes)>(
            (&a, &b, &c, &d, &e, &a), (&a, &b, &c, &d, &e, &b)
        );
        check::<(Bytes, (), Bytes, u8, u8, u8, u8, Bytes)>(
            (&a, (), &b, 0, 1, 2, 0, &c), (&a, (), &b, 0, 1, 2, 0, &d)
        );
    }

    #[test]
    fn keys_begin_alike_if_and_only_if_their_first_fields_agree(
        a in tricky(), b in tricky(), c in tricky(), d in tricky(), n in 0..2_u16, m in 0..2_u16
    ) {
        type Three = (Bytes, u16, Desc<Bytes>);
        for (left, right) in [
            ((&a[..], n, &b[..]), (&c[..], m, &d[..])),
            ((&a, n, &b), (&a, m, &d)),
            ((&a, n, &b), (&a, n, &d)),
            ((&a, n, &b), (&a, n, &b)),
        ] {
            for count in 1..3 {
                let (bytes, others) = (encoded::<Three>(left), encoded::<Three>(right));
                let length = fields::leading(&bytes, &Three::WIDTHS[..count]).unwrap();
                let agree = Three::compare_leading(left, right, count).is_eq();
                assert_eq!(others.starts_with(&bytes[..length]), agree, "{count} of {left:?} and {right:?}");
            }
        }
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
        read::<(Bytes, u8, Option<Text>, Bytes)>(&bytes);
        read::<Desc<Bytes>>(&bytes);
        read::<Desc<(u8, Bytes)>>(&bytes);
        read::<Option<u16>>(&bytes);
        read::<char>(&bytes);
        read::<bool>(&bytes);
        let _ = fields::leading(&bytes, &[None, Some(1), None]);
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
    assert_eq!(text::<((), u8, (), u8)>(((), 1, (), 2)), (true, "1\t2".to_owned()));
    // What is absent is an empty field, so that others keep their places.
    assert_eq!(text::<(Option<Text>, bool)>((None, true)), (true, "\ttrue".to_owned()));
    type Pairs = (u8, Option<(u8, Option<u8>)>, (), Option<()>, u8);
    assert_eq!(text::<Pairs>((1, None, (), Some(()), 2)), (true, "1\t\t\t2".to_owned()));
    assert_eq!(text::<Pairs>((1, Some((3, None)), (), None, 2)), (true, "1\t3\t\t2".to_owned()));
    assert_eq!(text::<(Option<u8>, Option<u8>)>((None, None)), (true, "\t".to_owned()));
    assert_eq!(text::<(Option<u8>, ())>((None, ())), (false, String::new()), "one field");
    assert_eq!(text::<Option<(u8, u8)>>(None), (false, String::new()));
    assert_eq!(text::<(Desc<char>, f32)>(('ä', 0.5)), (true, "ä\t0.5".to_owned()));
    assert_eq!(text::<f64>(1.0), (true, "1.0".to_owned()));
    assert_eq!(text::<(i64, Text)>((-3, "")), (true, "-3\t".to_owned()));
}

#[test]
fn numbers_turned_round_take_no_more_room() {
    assert_eq!(<Desc<u64> as Datum>::WIDTH, Some(8));
    assert_eq!(<(u32, Desc<f32>, bool) as Datum>::WIDTH, Some(9));
    assert_eq!(<Option<u32> as Datum>::WIDTH, Some(5));
    assert_eq!(<(u32, Option<Bytes>) as Datum>::WIDTH, None);
}
