//! Derived keys and values: the same bytes as a tuple's, and the same order.

use mapreduce::{Bytes, Datum, Desc, Fields, Key, Text};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Key)]
struct Visit<'a> {
    host: &'a str,
    #[key(desc)]
    at: u64,
    referrer: Option<&'a [u8]>,
    r#type: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Key)]
enum Kind {
    Page,
    Image,
    r#Other,
}

/// One in the other, without names.
#[derive(Clone, Copy, Debug, PartialEq, Key)]
struct Ranked<'a>(#[key(desc)] Kind, Visit<'a>, (u8, &'a str));

#[derive(Clone, Copy, Debug, PartialEq, Datum)]
struct Sums {
    count: u64,
    mean: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Key)]
struct Nothing;

type AsTuple = (Text, Desc<u64>, Option<Bytes>, u8);

fn encoded<D: Datum>(value: D::Ref<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    D::encode(value, &mut bytes);
    bytes
}

fn text<D: Datum>(value: D::Ref<'_>) -> String {
    let mut text = Vec::new();
    D::write_text(value, &mut text);
    String::from_utf8(text).unwrap()
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Page), Just(Kind::Image), Just(Kind::Other)]
}

proptest! {
    #[test]
    fn a_struct_is_a_tuple(
        hosts in ("[a\0]{0,3}", "[a\0]{0,3}"), at: (u64, u64), referrer in "[\0-b]{0,2}",
        kinds in (kind(), kind())
    ) {
        let bytes = referrer.as_bytes();
        let a = Visit { host: &hosts.0, at: at.0, referrer: Some(bytes), r#type: kinds.0 };
        let b = Visit { host: &hosts.1, at: at.1 % 2, referrer: None, r#type: kinds.1 };
        for (left, right) in [(a, b), (a, Visit { host: a.host, ..b }), (a, Visit { r#type: kinds.1, ..a })] {
            let tuple = |it: Visit<'_>| encoded::<AsTuple>((it.host, it.at, it.referrer, it.r#type as u8));
            prop_assert_eq!(encoded::<Visit<'static>>(left), tuple(left));
            prop_assert_eq!(tuple(left).cmp(&tuple(right)), Visit::compare(left, right));
            let bytes = tuple(left);
            prop_assert_eq!(<Visit<'_> as Datum>::decode(&bytes).unwrap(), left);
            let (left, right) = (Ranked(kinds.0, left, (1, "x")), Ranked(kinds.1, right, (1, "x")));
            let (some, others) = (encoded::<Ranked<'_>>(left), encoded::<Ranked<'_>>(right));
            prop_assert_eq!(some.cmp(&others), Ranked::compare(left, right));
            prop_assert_eq!(<Ranked<'_> as Datum>::decode(&some).unwrap(), left);
        }
    }
}

#[test]
fn enums_are_sorted_as_they_are_declared_and_written_by_name() {
    assert!(Kind::compare(Kind::Page, Kind::Image).is_lt());
    assert_eq!([Kind::Page, Kind::Image, Kind::Other].map(encoded::<Kind>), [[0], [1], [2]]);
    assert_eq!(<Kind as Datum>::decode(&[2]), Ok(Kind::Other));
    let refused = <Kind as Datum>::decode(&[3]).unwrap_err();
    assert_eq!(refused.to_string(), "1 bytes are not an encoded Kind");
    assert_eq!(text::<Kind>(Kind::Other), "Other");
}

#[test]
fn what_is_derived_is_written_as_fields() {
    let visit = Visit { host: "h", at: 7, referrer: None, r#type: Kind::Image };
    assert_eq!(text::<Visit<'_>>(visit), "h\t7\t\tImage");
    assert_eq!((Visit::COLUMNS, Ranked::COLUMNS, Nothing::COLUMNS), (4, 7, 0));
    let rounds = [Visit::ROUNDS, Sums::ROUNDS, <(u8, Option<f32>)>::ROUNDS, <[u8; 4]>::ROUNDS];
    assert_eq!(rounds, [false, true, true, false]);
    assert_eq!(text::<Sums>(Sums { count: 2, mean: 0.5 }), "2\t0.5");
    assert_eq!(<Sums as Datum>::WIDTH, Some(16));
    assert_eq!(Visit::WIDTHS, [None, Some(8), None, Some(1)]);
    assert_eq!((text::<Nothing>(Nothing), encoded::<Nothing>(Nothing)), (String::new(), vec![]));
    assert_eq!(<Nothing as Datum>::decode(b""), Ok(Nothing));
    let refused = <Nothing as Datum>::decode(b"x").unwrap_err();
    assert_eq!(refused.to_string(), "1 bytes are not an encoded Nothing");
}
