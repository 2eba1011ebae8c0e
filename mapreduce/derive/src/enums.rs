//! Enums without fields: the number of the variant, from 0 in the order of declaration.

use proc_macro2::{Literal, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::{Data, DataEnum, DeriveInput, Error, Fields, Ident, Result};

use crate::{Wanted, types};

pub(crate) fn derive(input: &DeriveInput, data: &DataEnum, wanted: Wanted) -> Result<TokenStream> {
    types::lifetime(input)?;
    let name = &input.ident;
    let variants = variants(input, data)?;
    let number = match variants.len() {
        1..=0x100 => quote!(u8),
        0x101..=0x1_0000 => quote!(u16),
        _ => return Err(Error::new_spanned(name, "an enum has at most 65,536 variants")),
    };
    let numbers: Vec<_> = (0..variants.len()).map(Literal::usize_unsuffixed).collect();
    let (text, texts) = (name.to_string(), variants.iter().map(|it| it.unraw().to_string()));
    let of_number = quote! {
        match number {
            #(#numbers => ::core::result::Result::Ok(#name::#variants),)*
            #[allow(unreachable_patterns)] // 256 variants use all numbers up.
            _ => ::core::result::Result::Err(::mapreduce::DecodeError::new(#text, bytes)),
        }
    };
    let key = (wanted == Wanted::Key).then(|| key(name, &number, &variants, &numbers, &of_number));
    Ok(quote! {
        #[automatically_derived]
        impl ::mapreduce::Datum for #name {
            type Ref<'__r> = #name;
            const WIDTH: ::core::option::Option<usize> = <#number as ::mapreduce::Datum>::WIDTH;

            #[inline]
            fn encode(value: Self, out: &mut ::std::vec::Vec<u8>) {
                let number: #number = match value { #(#name::#variants => #numbers,)* };
                <#number as ::mapreduce::Datum>::encode(number, out);
            }

            #[inline]
            fn decode(bytes: &[u8]) -> ::core::result::Result<Self, ::mapreduce::DecodeError> {
                let number = <#number as ::mapreduce::Datum>::decode(bytes)?;
                #of_number
            }

            fn write_text(value: Self, out: &mut ::std::vec::Vec<u8>) -> bool {
                let text = match value { #(#name::#variants => #texts,)* };
                out.extend_from_slice(text.as_bytes());
                true
            }
        }
        #key
    })
}

/// `Counter`.
pub(crate) fn counter(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(name, "counters are the variants of an enum"));
    };
    let variants: Vec<&Ident> = data.variants.iter().map(|variant| &variant.ident).collect();
    if data.variants.iter().any(|variant| !matches!(variant.fields, Fields::Unit)) {
        return Err(Error::new_spanned(name, "a counter has no fields"));
    }
    let (group, names) = (name.to_string(), variants.iter().map(|it| it.unraw().to_string()));
    Ok(quote! {
        #[automatically_derived]
        impl ::mapreduce::Counter for #name {
            fn group(&self) -> &'static str {
                #group
            }

            fn name(&self) -> &'static str {
                match *self { #(Self::#variants => #names,)* }
            }
        }
    })
}

fn key(
    name: &Ident,
    number: &TokenStream,
    variants: &[&Ident],
    numbers: &[Literal],
    of_number: &TokenStream,
) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl ::mapreduce::Key for #name {
            const READS_TURNED: bool = true;

            fn compare(a: Self, b: Self) -> ::core::cmp::Ordering {
                let place = |it| -> #number { match it { #(#name::#variants => #numbers,)* } };
                place(a).cmp(&place(b))
            }

            fn decode_turned(
                bytes: &[u8],
            ) -> ::core::result::Result<Self, ::mapreduce::DecodeError> {
                let number = <#number as ::mapreduce::Key>::decode_turned(bytes)?;
                #of_number
            }
        }
    }
}

/// All variants, if they are as they must be.
fn variants<'a>(input: &DeriveInput, data: &'a DataEnum) -> Result<Vec<&'a Ident>> {
    if data.variants.is_empty() {
        let why = "an enum without variants has no values to encode";
        return Err(Error::new_spanned(&input.ident, why));
    }
    let mut names = Vec::new();
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            let why = "a variant of a key or value has no fields: take a struct with `Option`s";
            return Err(Error::new_spanned(variant, why));
        }
        if let Some((_, discriminant)) = &variant.discriminant {
            let why = "variants are encoded by their order of declaration: leave the number out";
            return Err(Error::new_spanned(discriminant, why));
        }
        names.push(&variant.ident);
    }
    Ok(names)
}
