//! What stands in the parentheses of an attribute.

use proc_macro2::{Span, TokenStream};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Ident, LitInt, LitStr, Path, Token, Type};

/// The options of `#[vat]` and of `#[object]`.
pub(crate) struct Options {
    pub(crate) kind: LitStr,
    pub(crate) version: Option<LitInt>,
    pub(crate) env: Option<Type>,
    pub(crate) objects: Vec<Type>,
    pub(crate) vat: Option<Type>,
    pub(crate) client: Option<Ident>,
    pub(crate) krate: Path,
}

impl Options {
    pub(crate) fn parse(tokens: TokenStream, attribute: &str) -> syn::Result<Self> {
        let (mut kind, mut env, mut vat, mut client) = (None, None, None, None);
        let mut version: Option<LitInt> = None;
        let (mut objects, mut krate) = (Vec::new(), syn::parse_quote!(::crankcase));
        let is_vat = attribute == "vat";
        let parser = syn::meta::parser(|meta| {
            let is = |name: &str| meta.path.is_ident(name);
            if is("kind") {
                kind = Some(meta.value()?.parse::<LitStr>()?);
            } else if is("client") {
                client = Some(meta.value()?.parse()?);
            } else if is("crate") {
                krate = meta.value()?.parse()?;
            } else if is_vat && is("version") {
                version = Some(meta.value()?.parse()?);
            } else if is_vat && is("env") {
                env = Some(meta.value()?.parse()?);
            } else if is_vat && is("objects") {
                let inside;
                syn::parenthesized!(inside in meta.input);
                objects = Punctuated::<Type, Token![,]>::parse_terminated(&inside)?
                    .into_iter()
                    .collect();
            } else if !is_vat && is("vat") {
                vat = Some(meta.value()?.parse()?);
            } else {
                let known = match is_vat {
                    true => "kind, version, env, objects(…), client and crate",
                    false => "kind, vat, client and crate",
                };
                return Err(meta.error(format!("`#[{attribute}]` has the options {known}")));
            }
            Ok(())
        });
        parser.parse2(tokens)?;
        let missing = |what: &str| syn::Error::new(Span::call_site(), what);
        let kind = kind.ok_or_else(|| {
            missing(&format!(
                "write the name that stands in the journal: `#[{attribute}(kind = \"…\", …)]`"
            ))
        })?;
        let name = kind.value();
        if name.is_empty() || name.len() > 255 || name.chars().any(char::is_control) {
            return Err(syn::Error::new(
                kind.span(),
                "a kind's name has 1 to 255 bytes and no control characters",
            ));
        }
        if is_vat {
            let version = version.as_ref().ok_or_else(|| {
                missing("write the version of the code: `#[vat(kind = \"…\", version = 1)]`")
            })?;
            version.base10_parse::<u32>()?;
        } else if vat.is_none() {
            return Err(missing(
                "write which vats have such objects: `#[object(kind = \"…\", vat = …)]`",
            ));
        }
        Ok(Self {
            kind,
            version,
            env,
            objects,
            vat,
            client,
            krate,
        })
    }
}
