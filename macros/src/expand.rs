//! The code that stands for a block.
//!
//! What lints are switched off in it are about what its author did not write: a method that nobody
//! calls, more arguments than is good, a private type in a client that must be public because its type
//! may be, `()` as a value, a crank that no method takes.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Ident, Path, Type};

use crate::block::{Argument, Block, Method};
use crate::options::Options;

/// What `#[vat]` makes.
pub(crate) fn vat(options: TokenStream, block: TokenStream) -> TokenStream {
    or_error(|| {
        let options = Options::parse(options, "vat")?;
        let block = Block::parse(syn::parse2(block)?, false)?;
        let Some(create) = &block.create else {
            let name = &block.name;
            let why = format!(
                "`{name}` has no first crank: mark one function with `#[create]`, such as \
                 `#[create] fn new(_cx: &Crank<Self>, …) -> Answer<Self>`"
            );
            return Err(syn::Error::new_spanned(&block.of, why));
        };
        let item = &block.item;
        let parts = [
            quote!(#item),
            client(&options, &block),
            handles(&options, &block, create),
            checks(&options, &block),
            implementation(&options, &block, create),
        ];
        Ok(parts.into_iter().collect())
    })
}

/// What `#[object]` makes.
pub(crate) fn object(options: TokenStream, block: TokenStream) -> TokenStream {
    or_error(|| {
        let options = Options::parse(options, "object")?;
        let block = Block::parse(syn::parse2(block)?, true)?;
        let item = &block.item;
        let parts = [
            quote!(#item),
            client(&options, &block),
            checks(&options, &block),
            object_implementation(&options, &block),
        ];
        Ok(parts.into_iter().collect())
    })
}

/// With an error nothing but that is left of the block: what stands in it would only be a reason for
/// more of them.
fn or_error(expand: impl FnOnce() -> syn::Result<TokenStream>) -> TokenStream {
    expand().unwrap_or_else(|error| error.to_compile_error())
}

/// The name of an argument as callers and the journal know it: `_` before it only says that the
/// method does not use it.
fn plain(argument: &Argument) -> Ident {
    let name = argument.name.to_string();
    let plain = name.trim_start_matches('_');
    match plain.is_empty() || plain.starts_with(|first: char| first.is_ascii_digit()) {
        true => argument.name.clone(),
        false => syn::parse_str(plain).unwrap_or_else(|_| argument.name.clone()),
    }
}

/// The name under which a method stands in messages.
fn wire(method: &Method) -> String {
    method.name.unraw().to_string()
}

fn names(method: &Method) -> Vec<Ident> {
    method.arguments.iter().map(plain).collect()
}

fn types(method: &Method) -> Vec<&Type> {
    method
        .arguments
        .iter()
        .map(|argument| &argument.of)
        .collect()
}

/// Names that no argument has.
fn hidden(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// The methods of references and of promises.
fn client(options: &Options, block: &Block) -> TokenStream {
    let (krate, of, name) = (&options.krate, &block.of, &block.name);
    let client = options
        .client
        .clone()
        .unwrap_or_else(|| format_ident!("{name}Client"));
    let docs = format!("The methods of a reference to a [`{name}`], and of a promise of one.");
    let methods = block.methods.iter().map(|method| {
        let (called, attrs, comes_to) = (&method.name, &method.attrs, &method.comes_to);
        let (names, types) = (names(method), types(method));
        let wire = wire(method);
        let (caller, who) = (hidden("caller"), hidden("Who"));
        quote! {
            #(#attrs)*
            #[allow(clippy::too_many_arguments, private_interfaces, private_bounds)]
            pub fn #called<#who: #krate::typed::Caller>(
                &self,
                #caller: #who,
                #(#names: #types),*
            ) -> #who::Sent<#comes_to> {
                #krate::typed::Caller::call(
                    #caller,
                    #krate::typed::Callee::target(&self.0),
                    #wire,
                    &(#(#names,)*),
                )
            }
        }
    });
    quote! {
        #[doc = #docs]
        #[derive(Debug, Clone, Copy)]
        #[allow(dead_code)]
        pub struct #client<To = #krate::ObjectId>(To);

        #[automatically_derived]
        impl #krate::typed::Client for #client {
            fn to(object: #krate::ObjectId) -> Self {
                Self(object)
            }

            fn object(&self) -> #krate::ObjectId {
                self.0
            }
        }

        #[automatically_derived]
        impl ::core::convert::From<#krate::Promise> for #client<#krate::Promise> {
            fn from(promise: #krate::Promise) -> Self {
                Self(promise)
            }
        }

        #[automatically_derived]
        impl #krate::typed::Interface for #of {
            type Client = #client;
            type Eventual = #client<#krate::Promise>;
        }

        #[allow(dead_code)]
        impl<To: #krate::typed::Callee> #client<To> {
            #(#methods)*
        }
    }
}

/// What the type itself gets: making vats of it, and the names of its continuations.
fn handles(options: &Options, block: &Block, create: &Method) -> TokenStream {
    let (krate, of, kind) = (&options.krate, &block.of, &options.kind);
    let (names, types) = (names(create), types(create));
    let (caller, who) = (hidden("caller"), hidden("Who"));
    let root_name = hidden("root_name");
    let version = &options.version;
    let called = &create.name;
    let attrs = &create.attrs;
    let spawn_docs = format!(
        "Makes a vat of the kind {:?}, whose first crank is `{called}` with these arguments.",
        kind.value()
    );
    let named_docs = format!(
        "Makes a vat of the kind {:?} with a root name, by which the host finds it for ever.",
        kind.value()
    );
    let watchers = block.watchers.iter().map(|(method, outcome)| {
        let wire = wire(method);
        let name = Ident::new(&wire.to_uppercase(), method.name.span());
        let conditions = conditions(method);
        let (context, answer) = (context_type(method), &method.comes_to);
        let docs = format!("The continuation [`{wire}`](Self::{wire}).");
        quote! {
            #(#conditions)*
            #[doc = #docs]
            const #name: #krate::typed::Watcher<Self, #context, #outcome, #answer> =
                #krate::typed::Watcher::new(#wire);
        }
    });
    quote! {
        #[allow(dead_code, clippy::too_many_arguments, private_interfaces)]
        impl #of {
            #[doc = #spawn_docs]
            #(#attrs)*
            pub fn spawn<#who: #krate::typed::Spawner>(
                #caller: #who,
                #(#names: #types),*
            ) -> #who::Spawned<Self> {
                #krate::typed::Spawner::make(#caller, (#kind, #version), &(#(#names,)*))
            }

            #[doc = #named_docs]
            pub fn spawn_named<#who: #krate::typed::NamedSpawner>(
                #caller: #who,
                #root_name: &str,
                #(#names: #types),*
            ) -> #who::Spawned<Self> {
                #krate::typed::NamedSpawner::make_named(
                    #caller, #root_name, (#kind, #version), &(#(#names,)*)
                )
            }

            #(#watchers)*
        }
    }
}

/// The context of a watcher: its one argument, or all of them.
fn context_type(method: &Method) -> TokenStream {
    match &types(method)[..] {
        [one] => quote!(#one),
        all => quote!((#(#all,)*)),
    }
}

/// What the compiler is to find out, in functions whose names say which method it is about.
fn checks(options: &Options, block: &Block) -> TokenStream {
    let krate = &options.krate;
    let of = &block.of;
    let travels = quote!(#krate::typed::Travels);
    let no_cells = quote!(::core::panic::RefUnwindSafe);
    let mut all = Vec::new();
    let mut check = |name: String, of: &Type, bound: &TokenStream, method: Option<&Method>| {
        let name = format_ident!("{name}");
        let call = quote_spanned!(of.span()=> #name::<#of>());
        let conditions = method.into_iter().flat_map(conditions);
        all.push(quote!(#(#conditions)* { fn #name<T: #bound>() {} #call; }));
    };
    check(
        "the_state_derives_serialize_and_deserialize".to_owned(),
        of,
        &travels,
        None,
    );
    // Atomics and locks pass it: those are found where a crank is looked at again.
    check("the_state_has_no_cell".to_owned(), of, &no_cells, None);
    let watchers = block.watchers.iter().map(|(method, _)| method);
    for method in block.create.iter().chain(&block.methods).chain(watchers) {
        let name = wire(method);
        for of in types(method) {
            check(
                format!("arguments_of_{name}_derive_serialize_and_deserialize"),
                of,
                &travels,
                Some(method),
            );
        }
    }
    let answering = block
        .methods
        .iter()
        .chain(block.watchers.iter().map(|(method, _)| method));
    for method in answering {
        let name = wire(method);
        let name = format!("the_answer_of_{name}_derives_serialize_and_deserialize");
        check(name, &method.comes_to, &travels, Some(method));
    }
    let kind = &options.kind;
    let one_kind = block.migrate.iter().map(|method| {
        let old = types(method)[0];
        let why = format!(
            "`{}` takes over from another version of its own kind: write that version's type",
            method.name
        );
        quote_spanned! {old.span()=>
            const _: () = ::core::assert!(
                #krate::typed::is_same(<#old as #krate::raw::Vat>::KIND, #kind),
                #why
            );
        }
    });
    quote! {
        const _: () = {
            #[allow(dead_code, clippy::type_complexity)]
            fn checks() {
                #(#all)*
            }
        };
        #(#one_kind)*
    }
}

/// The conditions that a method stands under.
fn conditions(method: &Method) -> impl Iterator<Item = &syn::Attribute> {
    method
        .attrs
        .iter()
        .filter(|attr| attr.path().is_ident("cfg"))
}

/// Reads the arguments and calls the method with them.
fn call(krate: &Path, method: &Method, first: &TokenStream, more: &[TokenStream]) -> TokenStream {
    let (name, answer) = (&method.name, &method.answer);
    let names = received(method);
    quote! {
        let answer: #krate::Answer<#answer> = Self::#name(#first #(#names,)* #(#more),*);
    }
}

/// Names for the arguments as they arrive.
fn received(method: &Method) -> Vec<Ident> {
    let count = method.arguments.len();
    (0..count)
        .map(|at| hidden(&format!("argument_{at}")))
        .collect()
}

/// Takes the arguments of a message.
fn take(method: &Method, from: &TokenStream) -> TokenStream {
    let (names, types) = (received(method), types(method));
    quote!(let (#(#names,)*): (#(#types,)*) = #from.args()?;)
}

fn implementation(options: &Options, block: &Block, create: &Method) -> TokenStream {
    let (krate, of, kind) = (&options.krate, &block.of, &options.kind);
    let version = &options.version;
    let env = options
        .env
        .as_ref()
        .map_or_else(|| quote!(()), |env| quote!(#env));
    let cx = quote!(let cx = #krate::typed::Crank::<Self>::new(cx, env););
    let taken = take(create, &quote!(start));
    let called = call(krate, create, &quote!(&cx,), &[]);
    let methods = block.methods.iter().map(|method| {
        let (wire, taken) = (wire(method), take(method, &quote!(message)));
        let called = call(krate, method, &quote!(self, &cx,), &[]);
        let left = (!method.writes).then(|| quote!(cx.leave_state();));
        let conditions = conditions(method);
        quote! {
            #(#conditions)*
            #wire => {
                #taken
                #left
                #called
                ::core::result::Result::Ok(#krate::Payload::of(&answer?)?)
            }
        }
    });
    let watchers = block.watchers.iter().map(|(method, outcome)| {
        let (wire, names) = (wire(method), received(method));
        let of = context_type(method);
        let pattern = match &names[..] {
            [one] => quote!(#one),
            all => quote!((#(#all,)*)),
        };
        let called = call(krate, method, &quote!(self, &cx,), &[quote!(outcome)]);
        let left = (!method.writes).then(|| quote!(cx.leave_state();));
        let conditions = conditions(method);
        quote! {
            #(#conditions)*
            #wire => {
                let #pattern: #of = notice.context()?;
                let outcome: #krate::Outcome<#outcome> = notice.value();
                #left
                #called
                ::core::result::Result::Ok(#krate::Payload::of(&answer?)?)
            }
        }
    });
    let described = describe_all(block);
    let listed = &options.objects;
    let created = create.arguments.iter().map(takes);
    let migrate = block.migrate.as_ref().map(|method| {
        let (name, old) = (&method.name, types(method)[0]);
        quote! {
            const MIGRATES_FROM: ::core::option::Option<u32> = ::core::option::Option::Some(
                <#old as #krate::raw::Vat>::VERSION
            );

            fn migrate(
                cx: &#krate::raw::Crank<'_>,
                env: &Self::Env,
                old: &#krate::Payload,
            ) -> ::core::result::Result<Self, #krate::Rejection> {
                #cx
                let answer: #krate::Answer<Self> = Self::#name(&cx, old.decode::<#old>()?);
                answer
            }
        }
    });
    let objects = options.objects.iter().map(|object| {
        quote! {
            <#object as #krate::typed::VatObject>::KIND => {
                <#object as #krate::typed::VatObject>::receive(self, &cx, object, message)
            }
        }
    });
    let dropped = block.dropped.as_ref().map(|method| {
        let name = &method.name;
        quote! {
            fn dropped(
                &mut self,
                cx: &#krate::raw::Crank<'_>,
                env: &Self::Env,
                object: u64,
            ) -> ::core::result::Result<(), #krate::Rejection> {
                #cx
                let answer: #krate::Answer<()> = Self::#name(self, &cx, object);
                answer
            }
        }
    });
    quote! {
        #[automatically_derived]
        #[allow(clippy::unit_arg, clippy::let_unit_value, unused_variables)]
        impl #krate::raw::Vat for #of {
            const KIND: &'static str = #kind;
            const VERSION: u32 = #version;
            type Env = #env;

            fn describe(shape: &mut #krate::typed::ShapeWriter) {
                shape.state::<Self>();
                shape.create()#(#created)*.gives_vat();
                #(#described)*
                #(shape.object::<#listed>();)*
            }

            #migrate

            fn create(
                cx: &#krate::raw::Crank<'_>,
                env: &Self::Env,
                start: &#krate::raw::Message<'_>,
            ) -> ::core::result::Result<Self, #krate::Rejection> {
                #cx
                #taken
                #called
                answer
            }

            fn receive(
                &mut self,
                cx: &#krate::raw::Crank<'_>,
                env: &Self::Env,
                message: &#krate::raw::Message<'_>,
            ) -> #krate::Answer {
                #cx
                match message.method() {
                    #(#methods)*
                    other => ::core::result::Result::Err(
                        #krate::typed::no_such_method(Self::KIND, other)
                    ),
                }
            }

            fn receive_at(
                &mut self,
                cx: &#krate::raw::Crank<'_>,
                env: &Self::Env,
                object: &#krate::raw::Object,
                message: &#krate::raw::Message<'_>,
            ) -> #krate::Answer {
                #cx
                match object.kind() {
                    #(#objects)*
                    other => ::core::result::Result::Err(
                        #krate::typed::no_such_object_kind(Self::KIND, other)
                    ),
                }
            }

            fn notified(
                &mut self,
                cx: &#krate::raw::Crank<'_>,
                env: &Self::Env,
                notice: &#krate::raw::Notice<'_>,
            ) -> #krate::Answer {
                #cx
                match notice.method() {
                    #(#watchers)*
                    other => ::core::result::Result::Err(
                        #krate::typed::no_such_watcher(Self::KIND, other)
                    ),
                }
            }

            #dropped
        }
    }
}

/// What says how an argument stands in bytes.
fn takes(argument: &Argument) -> TokenStream {
    let (name, of) = (plain(argument).to_string(), &argument.of);
    quote!(.takes::<#of>(#name))
}

/// What says how the messages of all methods stand in bytes.
fn describe_all(block: &Block) -> Vec<TokenStream> {
    let methods = block.methods.iter().map(|method| {
        let (wire, comes_to) = (wire(method), &method.comes_to);
        let (conditions, takes) = (conditions(method), method.arguments.iter().map(takes));
        quote! {
            #(#conditions)*
            { shape.method(#wire)#(#takes)*.gives::<#comes_to>(); }
        }
    });
    let watchers = block.watchers.iter().map(|(method, outcome)| {
        let (wire, comes_to) = (wire(method), &method.comes_to);
        let (conditions, takes) = (conditions(method), method.arguments.iter().map(takes));
        quote! {
            #(#conditions)*
            { shape.watcher(#wire)#(#takes)*.hears::<#outcome>().gives::<#comes_to>(); }
        }
    });
    methods.chain(watchers).collect()
}

fn object_implementation(options: &Options, block: &Block) -> TokenStream {
    let (krate, of, kind, vat) = (&options.krate, &block.of, &options.kind, &options.vat);
    let described = describe_all(block);
    let methods = block.methods.iter().map(|method| {
        let (wire, taken) = (wire(method), take(method, &quote!(message)));
        let first = match method.writes {
            true => quote!(&mut state, vat, cx,),
            false => quote!(&state, vat, cx,),
        };
        let called = call(krate, method, &first, &[]);
        let kept = method
            .writes
            .then(|| quote!(cx.keep_object(object.number(), &state);));
        let conditions = conditions(method);
        quote! {
            #(#conditions)*
            #wire => {
                #taken
                #called
                let answer = answer?;
                #kept
                ::core::result::Result::Ok(#krate::Payload::of(&answer)?)
            }
        }
    });
    quote! {
        #[automatically_derived]
        #[allow(clippy::unit_arg, clippy::let_unit_value, unused_mut, unused_variables)]
        impl #krate::typed::VatObject for #of {
            type Vat = #vat;
            const KIND: &'static str = #kind;

            fn describe(shape: &mut #krate::typed::ShapeWriter) {
                #(#described)*
            }

            fn receive(
                vat: &mut #vat,
                cx: &#krate::Crank<'_, '_, #vat>,
                object: &#krate::raw::Object,
                message: &#krate::raw::Message<'_>,
            ) -> #krate::Answer {
                let mut state: Self = object.state()?;
                match message.method() {
                    #(#methods)*
                    other => ::core::result::Result::Err(
                        #krate::typed::no_such_method(#kind, other)
                    ),
                }
            }
        }
    }
}
