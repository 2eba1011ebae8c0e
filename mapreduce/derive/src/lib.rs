//! `#[derive(Key)]` and `#[derive(Datum)]`: structs and enums as keys and values of jobs. What they are encoded with
//! is in `mapreduce::fields`; here is only which field is what. Authors take them from the `mapreduce` crate.

mod enums;
mod structs;
mod types;

use proc_macro::TokenStream;
use syn::{Data, DeriveInput, Error, Result, parse_macro_input};

/// What is derived.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Datum,
    Key,
}

/// Makes a type one of values (`mapreduce::Datum`): a struct whose fields are such types, or an enum without
/// fields. It must be `Copy`, and may have one lifetime, for `&'a str` and `&'a [u8]`: then the type of values is
/// written `Visit<'static>`, and what mappers and reducers hold is a `Visit<'_>`.
#[proc_macro_derive(Datum, attributes(key))]
pub fn derive_datum(input: TokenStream) -> TokenStream {
    or_errors(derive(&parse_macro_input!(input as DeriveInput), Wanted::Datum))
}

/// Makes a type one of keys (`mapreduce::Key`), and so of values too: as `derive(Datum)`. Keys are sorted by the first
/// field, then by the second, and so on; by one with `#[key(desc)]`, the last value first. Enums are sorted in the
/// order in which their variants are declared. Jobs can group by a struct's first fields (`mapreduce::Fields`).
#[proc_macro_derive(Key, attributes(key))]
pub fn derive_key(input: TokenStream) -> TokenStream {
    or_errors(derive(&parse_macro_input!(input as DeriveInput), Wanted::Key))
}

/// Makes an enum without fields one of counters (`mapreduce::Counter`): its name is the group, its variants' names are
/// the counters'.
#[proc_macro_derive(Counter)]
pub fn derive_counter(input: TokenStream) -> TokenStream {
    or_errors(enums::counter(&parse_macro_input!(input as DeriveInput)))
}

fn or_errors(derived: Result<proc_macro2::TokenStream>) -> TokenStream {
    derived.unwrap_or_else(Error::into_compile_error).into()
}

fn derive(input: &DeriveInput, wanted: Wanted) -> Result<proc_macro2::TokenStream> {
    match &input.data {
        Data::Struct(data) => structs::derive(input, data, wanted),
        Data::Enum(data) => enums::derive(input, data, wanted),
        Data::Union(_) => Err(Error::new_spanned(&input.ident, "a union can't be encoded")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(wanted: Wanted, input: &str) -> String {
        let input = syn::parse_str(input).unwrap();
        derive(&input, wanted).expect_err("it is derived").to_string()
    }

    #[test]
    fn what_can_not_be_derived_is_said() {
        for (wanted, input, expected) in [
            (Wanted::Key, "union U { a: u8 }", "union"),
            (Wanted::Key, "struct S<T> { a: T }", "can't be generic"),
            (Wanted::Key, "struct S<const N: usize>([u8; N]);", "can't be generic"),
            (Wanted::Key, "struct S<'a, 'b>(&'a str, &'b str);", "one lifetime is all"),
            (Wanted::Key, "struct S<'a>(&'a u64);", "`&str` and `&[u8]`"),
            (Wanted::Key, "struct S([u64; 2]);", "can't be part"),
            (Wanted::Key, "struct S(fn());", "can't be part"),
            (Wanted::Key, "struct S(#[key(down)] u8);", "`#[key(desc)]`"),
            (Wanted::Datum, "struct S(#[key(desc)] u8);", "derive `Key`"),
            (Wanted::Key, "enum E {}", "without variants"),
            (Wanted::Key, "enum E { A(u8) }", "has no fields"),
            (Wanted::Key, "enum E { A = 3 }", "leave the number out"),
        ] {
            let words = refused(wanted, input);
            assert!(words.contains(expected), "{input}: {words}");
        }
    }

    #[test]
    fn an_enum_has_as_many_bytes_as_its_variants_need() {
        for (n, number) in [(1, "u8"), (256, "u8"), (257, "u16")] {
            let variants: Vec<String> = (0..n).map(|n| format!("V{n}")).collect();
            let input = syn::parse_str(&format!("enum E {{ {} }}", variants.join(","))).unwrap();
            let derived = derive(&input, Wanted::Datum).unwrap().to_string();
            assert!(derived.contains(&format!("let number : {number} =")), "{n} variants");
        }
    }
}
