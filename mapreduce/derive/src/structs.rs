//! Structs: their fields one after the other, as a tuple's.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned;
use syn::{DataStruct, DeriveInput, Error, Member, Result, Type};

use crate::{Wanted, types};

pub(crate) fn derive(
    input: &DeriveInput,
    data: &DataStruct,
    wanted: Wanted,
) -> Result<TokenStream> {
    let name = &input.ident;
    let (this, seen) = match types::lifetime(input)? {
        Some(_) => (quote!(#name<'static>), quote!(#name<'__r>)),
        None => (quote!(#name), quote!(#name)),
    };
    let fields = fields(data, wanted)?;
    let (members, types): (Vec<Member>, Vec<Type>) = fields.into_iter().unzip();
    let widths: Vec<_> = types
        .iter()
        .map(|ty| quote_spanned!(ty.span() => <#ty as ::mapreduce::Datum>::WIDTH))
        .collect();
    let body = datum_body(name, &members, &types, &widths);
    let key = (wanted == Wanted::Key).then(|| key(&this, &members, &types, &widths));
    Ok(quote! {
        #[automatically_derived]
        impl ::mapreduce::Datum for #this {
            type Ref<'__r> = #seen;
            const WIDTH: ::core::option::Option<usize> =
                ::mapreduce::fields::width(&[#(#widths),*]);
            const ROUNDS: bool = false #(|| <#types as ::mapreduce::Datum>::ROUNDS)*;
            const COLUMNS: usize = 0 #(+ <#types as ::mapreduce::Datum>::COLUMNS)*;
            #body
        }
        #key
    })
}

/// Each field's name and the type of its values.
fn fields(data: &DataStruct, wanted: Wanted) -> Result<Vec<(Member, Type)>> {
    let with_type = |(member, field): (Member, &syn::Field)| {
        let datum = types::datum(&field.ty)?;
        if !types::is_descending(field)? {
            return Ok((member, datum));
        }
        if wanted != Wanted::Key {
            let why = "`#[key(desc)]` is about the order of keys: derive `Key`";
            return Err(Error::new_spanned(field, why));
        }
        let span = field.ty.span();
        Ok((member, syn::parse2(quote_spanned!(span => ::mapreduce::Desc<#datum>))?))
    };
    data.fields.members().zip(&data.fields).map(with_type).collect()
}

/// The functions of `Datum`.
fn datum_body(
    name: &syn::Ident,
    members: &[Member],
    types: &[Type],
    widths: &[TokenStream],
) -> TokenStream {
    let text = name.to_string();
    let parts: Vec<_> = (0..members.len()).map(|n| format_ident!("part_{n}")).collect();
    let writes = members.iter().zip(types).enumerate().map(|(n, (member, ty))| {
        if n + 1 == members.len() {
            quote!(encoder.last::<#ty>(value.#member);)
        } else {
            quote!(encoder.field::<#ty>(value.#member);)
        }
    });
    // A tuple struct's fields have none.
    let names: Vec<_> = members
        .iter()
        .filter_map(|member| match member {
            Member::Named(name) => Some(name.unraw().to_string()),
            Member::Unnamed(_) => None,
        })
        .collect();
    let encoder = match members {
        [] => quote!(),
        [_] => quote!(let encoder = ::mapreduce::fields::Encoder::new(out);),
        _ => quote!(let mut encoder = ::mapreduce::fields::Encoder::new(out);),
    };
    quote! {
        #[inline]
        fn encode(value: Self::Ref<'_>, out: &mut ::std::vec::Vec<u8>) {
            let _ = (&value, &out);
            #encoder
            #(#writes)*
        }

        #[inline]
        fn decode(
            bytes: &[u8],
        ) -> ::core::result::Result<Self::Ref<'_>, ::mapreduce::DecodeError> {
            let [#(#parts),*] = ::mapreduce::fields::split(bytes, [#(#widths),*])
                .ok_or_else(|| ::mapreduce::DecodeError::new(#text, bytes))?;
            ::core::result::Result::Ok(#name {
                #(#members: <#types as ::mapreduce::Datum>::decode(#parts)?,)*
            })
        }

        fn write_text(value: Self::Ref<'_>, out: &mut ::std::vec::Vec<u8>) -> bool {
            let _ = &value;
            #[allow(unused_mut)] // A struct may have no fields.
            let mut writer = ::mapreduce::fields::TextWriter::new(out);
            #(writer.field::<#types>(value.#members);)*
            writer.wrote()
        }

        fn visit(value: Self::Ref<'_>, to: &mut dyn ::mapreduce::Visitor) {
            let _ = &value;
            to.begin(&[#(#names),*]);
            #(<#types as ::mapreduce::Datum>::visit(value.#members, to);)*
            to.end();
        }
    }
}

fn key(
    this: &TokenStream,
    members: &[Member],
    types: &[Type],
    widths: &[TokenStream],
) -> TokenStream {
    let n = members.len();
    let orders: Vec<_> = members
        .iter()
        .zip(types)
        .map(|(member, ty)| {
            quote_spanned!(ty.span() => <#ty as ::mapreduce::Key>::compare(a.#member, b.#member))
        })
        .collect();
    quote! {
        #[automatically_derived]
        impl ::mapreduce::Key for #this {
            fn compare(a: Self::Ref<'_>, b: Self::Ref<'_>) -> ::core::cmp::Ordering {
                <Self as ::mapreduce::Fields>::compare_leading(a, b, #n)
            }
        }

        #[automatically_derived]
        impl ::mapreduce::Fields for #this {
            const FIELDS: usize = #n;
            const WIDTHS: &'static [::core::option::Option<usize>] = &[#(#widths),*];

            fn compare_leading(
                a: Self::Ref<'_>,
                b: Self::Ref<'_>,
                n: usize,
            ) -> ::core::cmp::Ordering {
                let _ = (&a, &b);
                let orders: [::core::cmp::Ordering; #n] = [#(#orders),*];
                let differs = orders.into_iter().take(n).find(|order| order.is_ne());
                differs.unwrap_or(::core::cmp::Ordering::Equal)
            }
        }
    }
}
