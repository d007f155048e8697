//! What an `impl` block says: its methods, and whether they are what a vat can have.
//!
//! Every error names the method and says what to write.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit_mut::VisitMut;
use syn::{
    Attribute, FnArg, GenericArgument, Ident, ImplItem, ImplItemFn, ItemImpl, Pat, PathArguments,
    Receiver, ReturnType, Type, Visibility,
};

/// An argument that travels: its name and its type.
pub(crate) struct Argument {
    pub(crate) name: Ident,
    pub(crate) of: Type,
}

/// A function that the kernel calls.
pub(crate) struct Method {
    pub(crate) name: Ident,
    /// Its documentation and conditions, for what is generated from it.
    pub(crate) attrs: Vec<Attribute>,
    /// Whether it may write the state.
    pub(crate) writes: bool,
    pub(crate) arguments: Vec<Argument>,
    /// What it answers with, and what whoever asked gets of that.
    pub(crate) answer: Type,
    pub(crate) comes_to: Type,
}

/// The block, taken apart.
pub(crate) struct Block {
    /// As it was, without our attributes.
    pub(crate) item: ItemImpl,
    pub(crate) of: Type,
    pub(crate) name: Ident,
    pub(crate) create: Option<Method>,
    pub(crate) migrate: Option<Method>,
    pub(crate) dropped: Option<Method>,
    pub(crate) methods: Vec<Method>,
    /// With what the promise comes to as their last argument.
    pub(crate) watchers: Vec<(Method, Type)>,
}

/// What a method of a reference already is.
const TAKEN: [&str; 22] = [
    "spawn",
    "spawn_named",
    "object",
    "vat",
    "cast",
    "clone",
    "clone_from",
    "to_string",
    "to_owned",
    "into",
    "try_into",
    "eq",
    "ne",
    "cmp",
    "partial_cmp",
    "lt",
    "le",
    "gt",
    "ge",
    "max",
    "min",
    "clamp",
];

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Create,
    Migrate,
    Dropped,
    Watcher,
    Method,
}

impl Role {
    const MARKED: [(&'static str, Self); 4] = [
        ("create", Self::Create),
        ("migrate", Self::Migrate),
        ("dropped", Self::Dropped),
        ("watcher", Self::Watcher),
    ];
}

fn error(span: Span, message: String) -> syn::Error {
    syn::Error::new(span, message)
}

impl Block {
    /// Takes a block apart; `in_vat` says whether it is an object's, whose methods have the vat
    /// behind themselves.
    pub(crate) fn parse(mut item: ItemImpl, in_vat: bool) -> syn::Result<Self> {
        if let Some((_, path, _)) = &item.trait_ {
            let why = "this stands on the inherent `impl` of a type, and not on that of a trait";
            return Err(syn::Error::new_spanned(path, why));
        }
        if let Some(parameter) = item.generics.params.first() {
            let why = "a kind is one type: an `impl` with parameters would be many. Write one \
                       `impl` for each type that is to be a kind, with a kind's name of its own";
            return Err(syn::Error::new_spanned(parameter, why));
        }
        let of = (*item.self_ty).clone();
        let name = match &of {
            Type::Path(path) if path.qself.is_none() => path.path.segments.last(),
            _ => None,
        };
        let name = match name {
            Some(segment) if segment.arguments.is_empty() => segment.ident.clone(),
            _ => {
                let why = "a kind is one type with a name and without parameters: give it a type of \
                           its own, such as `struct Name(…)`";
                return Err(syn::Error::new_spanned(&of, why));
            }
        };
        let mut block = Self {
            item: item.clone(),
            of,
            name,
            create: None,
            migrate: None,
            dropped: None,
            methods: Vec::new(),
            watchers: Vec::new(),
        };
        let mut errors: Option<syn::Error> = None;
        for part in &mut item.items {
            if let ImplItem::Fn(function) = part
                && let Err(error) = block.take(function, in_vat)
            {
                match &mut errors {
                    Some(errors) => errors.combine(error),
                    None => errors = Some(error),
                }
            }
        }
        block.item = item;
        match errors {
            Some(errors) => Err(errors),
            None => Ok(block),
        }
    }

    fn take(&mut self, function: &mut ImplItemFn, in_vat: bool) -> syn::Result<()> {
        let Some(role) = role_of(function, in_vat)? else {
            return Ok(());
        };
        let name = function.sig.ident.clone();
        let (mut method, last) = self.method(function, role, in_vat)?;
        let twice = |what: &str| {
            error(
                name.span(),
                format!("`{name}` is the second method that is `#[{what}]`: there can be one"),
            )
        };
        match role {
            Role::Create if self.create.is_some() => return Err(twice("create")),
            Role::Create => self.create = Some(method),
            Role::Migrate if self.migrate.is_some() => return Err(twice("migrate")),
            Role::Migrate => {
                if method.arguments.len() != 1 {
                    return Err(error(
                        name.span(),
                        format!(
                            "`{name}` gets the state of the older version and nothing else: write \
                             `fn {name}(cx: &Crank<Self>, old: Old) -> Answer<Self>`"
                        ),
                    ));
                }
                self.migrate = Some(method);
            }
            Role::Dropped if self.dropped.is_some() => return Err(twice("dropped")),
            Role::Dropped => {
                if method.arguments.len() != 1 {
                    return Err(error(
                        name.span(),
                        format!(
                            "`{name}` gets the number of the object and nothing else: write \
                             `fn {name}(&mut self, cx: &Crank<Self>, object: u64) -> Answer<()>`"
                        ),
                    ));
                }
                self.dropped = Some(method);
            }
            Role::Watcher => {
                let outcome = last.ok_or_else(|| no_outcome(&name))?;
                method.arguments.pop();
                self.watchers.push((method, outcome));
            }
            Role::Method => self.methods.push(method),
        }
        Ok(())
    }

    /// The method, and what the promise comes to if the last argument is an outcome.
    fn method(
        &self,
        function: &ImplItemFn,
        role: Role,
        in_vat: bool,
    ) -> syn::Result<(Method, Option<Type>)> {
        let signature = &function.sig;
        let name = &signature.ident;
        if let Some(found) = &signature.asyncness {
            return Err(error(
                found.span(),
                format!(
                    "`{name}` cannot be async: a crank waits for nothing. Send, and go on in a \
                     `#[watcher]`"
                ),
            ));
        }
        if let Some(found) = &signature.unsafety {
            let why = format!("`{name}` cannot be unsafe: the kernel calls it");
            return Err(error(found.span(), why));
        }
        if let Some(found) = signature.generics.params.first() {
            return Err(error(
                found.span(),
                format!(
                    "`{name}` cannot have parameters of types: what is sent to it must be known \
                     from its name"
                ),
            ));
        }
        if role == Role::Method && (TAKEN.contains(&name.to_string().as_str())) {
            return Err(error(
                name.span(),
                format!(
                    "`{name}` is a name that every reference or kind has already, so a message of \
                     that name could not be sent: give it another name"
                ),
            ));
        }
        let mut inputs = signature.inputs.iter();
        let writes = match role {
            Role::Create | Role::Migrate => {
                if let Some(receiver) = signature.receiver() {
                    return Err(error(
                        receiver.span(),
                        format!(
                            "`{name}` makes the vat, so there is no `self` yet: write \
                             `fn {name}(cx: &Crank<Self>, …) -> Answer<Self>`"
                        ),
                    ));
                }
                true
            }
            _ => {
                let writes = receiver_of(signature.receiver(), name)?;
                inputs.next();
                writes
            }
        };
        let after = match (role, in_vat) {
            (Role::Create | Role::Migrate, _) => "first",
            (_, false) => "after `self`",
            (_, true) => "after `self` and the vat",
        };
        if in_vat {
            let vat = inputs.next();
            let is_mut_ref = matches!(vat, Some(FnArg::Typed(vat))
                if matches!(&*vat.ty, Type::Reference(found) if found.mutability.is_some()));
            if !is_mut_ref {
                return Err(error(
                    name.span(),
                    format!(
                        "`{name}` gets the vat after `self`: write `fn {name}(&mut self, vat: &mut \
                         Vat, cx: &Crank<Vat>, …) -> Answer<…>`"
                    ),
                ));
            }
        }
        let cx = inputs.next();
        if !matches!(cx, Some(FnArg::Typed(cx)) if is_crank(&cx.ty)) {
            let crank = if in_vat { "Crank<Vat>" } else { "Crank<Self>" };
            return Err(error(
                cx.map_or_else(|| name.span(), Spanned::span),
                format!(
                    "`{name}` gets the crank {after}: write `cx: &{crank}` there, or leave the `pub` \
                     away if it is a helper that no message is to reach"
                ),
            ));
        }
        let mut arguments = Vec::new();
        let mut outcome = None;
        for input in inputs {
            let FnArg::Typed(input) = input else { continue };
            let Pat::Ident(pattern) = &*input.pat else {
                return Err(error(
                    input.pat.span(),
                    format!("arguments of `{name}` have names: callers and the journal use them"),
                ));
            };
            let plain = |ident: &Ident| ident.to_string().trim_start_matches('_').to_owned();
            let twice = |known: &Argument| plain(&known.name) == plain(&pattern.ident);
            if arguments.iter().any(twice) {
                return Err(error(
                    input.pat.span(),
                    format!("two arguments of `{name}` differ by `_` alone: give one another name"),
                ));
            }
            check_owned(&input.ty, name)?;
            outcome = sole_parameter(&input.ty, "Outcome").map(|of| self.without_self(of));
            arguments.push(Argument {
                name: pattern.ident.clone(),
                of: self.without_self(&input.ty),
            });
        }
        let answer = match &signature.output {
            ReturnType::Type(_, of) => sole_parameter(of, "Answer"),
            ReturnType::Default => None,
        };
        let Some(answer) = answer else {
            let what = match role {
                Role::Create | Role::Migrate => "Answer<Self>",
                Role::Dropped => "Answer<()>",
                _ => "Answer<…>",
            };
            let span = match &signature.output {
                ReturnType::Default => name.span(),
                written => written.span(),
            };
            return Err(error(
                span,
                format!(
                    "`{name}` answers: write `-> {what}`, spelled like that, because with `Err` \
                     nothing of the crank happens, and a reader must see that. A method without a \
                     value answers `Answer<()>`"
                ),
            ));
        };
        let answer = self.without_self(answer);
        let comes_to = match sole_parameter(&answer, "Promise") {
            Some(inner) => inner.clone(),
            None => answer.clone(),
        };
        let keep = |attr: &&Attribute| {
            ["doc", "cfg", "deprecated"]
                .iter()
                .any(|name| attr.path().is_ident(name))
        };
        let method = Method {
            name: name.clone(),
            attrs: function.attrs.iter().filter(keep).cloned().collect(),
            writes,
            arguments,
            answer,
            comes_to,
        };
        Ok((method, outcome))
    }

    /// The type with `Self` spelled out, for use elsewhere.
    fn without_self(&self, of: &Type) -> Type {
        struct Replace<'a>(&'a Type);
        impl VisitMut for Replace<'_> {
            fn visit_type_mut(&mut self, of: &mut Type) {
                match of {
                    Type::Path(path) if path.path.is_ident("Self") => *of = self.0.clone(),
                    _ => syn::visit_mut::visit_type_mut(self, of),
                }
            }
        }
        let mut of = of.clone();
        Replace(&self.of).visit_type_mut(&mut of);
        of
    }
}

/// What the kernel has to do with a function, if anything; takes our attributes off it.
fn role_of(function: &mut ImplItemFn, in_vat: bool) -> syn::Result<Option<Role>> {
    let mut role = None;
    let mut refused = None;
    function.attrs.retain(|attr| {
        let found = Role::MARKED
            .iter()
            .find(|(name, _)| attr.path().is_ident(name));
        let Some((name, marked)) = found else {
            return true;
        };
        if in_vat {
            refused = Some(error(
                attr.span(),
                format!("`#[{name}]` is for methods of the vat, and this is an object of one"),
            ));
        } else if role.is_some() {
            refused = Some(error(
                attr.span(),
                format!("`#[{name}]` is one mark too many"),
            ));
        }
        role = Some(*marked);
        false
    });
    if let Some(refused) = refused {
        return Err(refused);
    }
    let is_pub = matches!(function.vis, Visibility::Public(_));
    match role {
        Some(Role::Watcher | Role::Migrate | Role::Dropped) if is_pub => Err(error(
            function.vis.span(),
            format!(
                "only the kernel calls `{}`: leave the `pub` away",
                function.sig.ident
            ),
        )),
        Some(role) => Ok(Some(role)),
        None if is_pub && function.sig.receiver().is_some() => Ok(Some(Role::Method)),
        None => Ok(None),
    }
}

/// Whether a method may write the state.
fn receiver_of(receiver: Option<&Receiver>, name: &Ident) -> syn::Result<bool> {
    let good = receiver.filter(|r| r.colon_token.is_none() && r.reference.is_some());
    match (good, receiver) {
        (Some(receiver), _) => Ok(receiver.mutability.is_some()),
        (None, found) => Err(error(
            found.map_or_else(|| name.span(), Spanned::span),
            format!(
                "`{name}` borrows its vat: write `&mut self`, or `&self` when it leaves the state as \
                 it is. To end the vat call `cx.exit(…)`"
            ),
        )),
    }
}

fn no_outcome(name: &Ident) -> syn::Error {
    error(
        name.span(),
        format!(
            "the last argument of the watcher `{name}` is what the promise came to: write \
             `fn {name}(&mut self, cx: &Crank<Self>, …, outcome: Outcome<T>) -> Answer<…>`, spelled \
             like that, where the promise is a `Promise<T>`"
        ),
    )
}

fn check_owned(of: &Type, name: &Ident) -> syn::Result<()> {
    match of {
        Type::Reference(_) => Err(error(
            of.span(),
            format!(
                "an argument of `{name}` travels in a message, so it cannot be borrowed: take an \
                 owned value, such as `String` for `&str`"
            ),
        )),
        Type::ImplTrait(_) => Err(error(
            of.span(),
            format!(
                "an argument of `{name}` travels in a message, so its type must be written out"
            ),
        )),
        _ => Ok(()),
    }
}

/// Whether a type is a shared reference to something that is called `Crank`.
fn is_crank(of: &Type) -> bool {
    let Type::Reference(of) = of else {
        return false;
    };
    let Type::Path(path) = &*of.elem else {
        return false;
    };
    of.mutability.is_none()
        && path
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == "Crank")
}

/// The one parameter of a type that is called like that.
pub(crate) fn sole_parameter<'a>(of: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = of else { return None };
    let last = path
        .path
        .segments
        .last()
        .filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(parameters) = &last.arguments else {
        return None;
    };
    match parameters.args.iter().collect::<Vec<_>>()[..] {
        [GenericArgument::Type(parameter)] => Some(parameter),
        _ => None,
    }
}
