//! Which type of keys or values a field is: `&'a str` is a `Text`.

use syn::{
    DeriveInput, Error, Field, GenericArgument, GenericParam, Lifetime, PathArguments, Result,
    Type, TypePath, parse_quote,
};

/// The one lifetime that a type may have.
pub(crate) fn lifetime(input: &DeriveInput) -> Result<Option<&Lifetime>> {
    let mut found = None;
    for parameter in &input.generics.params {
        match parameter {
            GenericParam::Lifetime(it) if found.is_none() => found = Some(&it.lifetime),
            GenericParam::Lifetime(it) => {
                let why = "one lifetime is all that keys and values can have: what they borrow lies in one buffer";
                return Err(Error::new_spanned(it, why));
            }
            other => {
                let why = "keys and values can't be generic: name the types of the fields";
                return Err(Error::new_spanned(other, why));
            }
        }
    }
    Ok(found)
}

/// The type of keys or values whose values the field holds.
pub(crate) fn datum(ty: &Type) -> Result<Type> {
    match ty {
        Type::Reference(reference) => match &*reference.elem {
            Type::Path(path) if path.path.is_ident("str") => Ok(parse_quote!(::mapreduce::Text)),
            Type::Slice(slice) if is_byte(&slice.elem) => Ok(parse_quote!(::mapreduce::Bytes)),
            _ => Err(Error::new_spanned(
                ty,
                "of references, a key or value can hold `&str` and `&[u8]`",
            )),
        },
        Type::Tuple(tuple) => {
            let fields = tuple.elems.iter().map(datum).collect::<Result<Vec<_>>>()?;
            Ok(parse_quote!((#(#fields,)*)))
        }
        Type::Paren(inner) => datum(&inner.elem),
        Type::Group(inner) => datum(&inner.elem),
        Type::Path(path) => named(path),
        Type::Array(array) if is_byte(&array.elem) => Ok(ty.clone()),
        _ => Err(Error::new_spanned(ty, "this type can't be part of a key or value")),
    }
}

fn is_byte(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.is_ident("u8"))
}

/// Another type by its name: an `Option` of what can be borrowed, or one whose name is the type of its values.
fn named(path: &TypePath) -> Result<Type> {
    let mut path = path.clone();
    for segment in &mut path.path.segments {
        let is_option = segment.ident == "Option";
        let PathArguments::AngleBracketed(arguments) = &mut segment.arguments else {
            continue;
        };
        for argument in &mut arguments.args {
            match argument {
                GenericArgument::Lifetime(it) => *it = parse_quote!('static),
                GenericArgument::Type(it) if is_option => *it = datum(it)?,
                _ => {}
            }
        }
    }
    Ok(Type::Path(path))
}

/// Whether the field is marked with `#[key(desc)]`.
pub(crate) fn is_descending(field: &Field) -> Result<bool> {
    let mut found = false;
    for attribute in field.attrs.iter().filter(|it| it.path().is_ident("key")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("desc") {
                return Err(meta.error("a field of a key may be marked with `#[key(desc)]`"));
            }
            found = true;
            Ok(())
        })?;
    }
    Ok(found)
}
