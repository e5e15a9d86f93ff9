//! Signatures of the handler and of `#[on_create]`.

use quote::ToTokens;
use syn::{FnArg, GenericArgument, ItemFn, Pat, PathArguments, ReturnType, Signature, Type};

use super::Module;
use crate::codes;
use crate::diagnostic::Diagnostics;

const HANDLER: &str = "pub fn translate(pkt: &mut Packet, cx: &mut Context) -> Handled";

/// Whether the handler is a plain function of packet and context.
pub(crate) fn check_handler(item: &ItemFn, module: &Module, diagnostics: &mut Diagnostics) -> bool {
    let name = module.packet.map_or_else(|| "Packet".to_owned(), |item| item.ident.to_string());
    let plain = check_plain(&item.sig, "a handler", diagnostics);
    let inputs: Vec<&FnArg> = item.sig.inputs.iter().collect();
    let shape = match inputs[..] {
        [packet, context] => {
            expect_input(packet, &name, diagnostics) & expect_input(context, "Context", diagnostics)
        }
        _ => {
            report(&item.sig.ident, "a handler takes the packet and its context, nothing else", diagnostics);
            false
        }
    };
    let returns = match &item.sig.output {
        ReturnType::Type(_, ty) => last_name(ty).is_some_and(|name| name == "Handled"),
        ReturnType::Default => false,
    };
    if !returns {
        match &item.sig.output {
            ReturnType::Type(_, ty) => report(ty, "a handler returns `Handled`: its verdict", diagnostics),
            ReturnType::Default => {
                report(&item.sig.ident, "a handler returns `Handled`: its verdict", diagnostics);
            }
        }
    }
    plain && shape && returns
}

/// Whether `on_create`, if there is one, can be called by the store.
pub(crate) fn check_on_create(module: &Module, diagnostics: &mut Diagnostics) -> bool {
    let Some(item) = module.on_create else { return true };
    let plain = check_plain(&item.sig, "`on_create`", diagnostics);
    let (Some(key), Some(state)) = (module.key_item, module.state_item) else { return false };
    let (key, state) = (key.ident.to_string(), state.ident.to_string());
    let config = module.config().map(|item| item.ident.to_string());
    let mut wanted = vec![(key.clone(), false), ("Creation".to_owned(), true)];
    wanted.extend(config.iter().map(|config| (config.clone(), false)));
    let inputs = &item.sig.inputs;
    let fits = inputs.len() == wanted.len()
        && inputs.iter().zip(&wanted).all(|(input, (name, mutable))| is_reference_to(input, name, *mutable))
        && returns_result(&item.sig.output, &state);
    if !fits {
        let config = config.map(|config| format!(", config: &{config}")).unwrap_or_default();
        diagnostics.report_at(
            codes::ON_CREATE_SIGNATURE,
            item.sig.ident.span(),
            "the store calls `on_create` with the key, the records of its shard, and the `#[config]` if there is one",
            format!(
                "write `pub fn {}(key: &{key}, records: &mut Creation<{key}, {state}>{config}) -> Result<{state}, Refusal>`",
                item.sig.ident
            ),
        );
    }
    plain && fits
}

/// Whether the function that says how long a record is kept, if there is one, can be called by the store.
pub(crate) fn check_idle(module: &Module, diagnostics: &mut Diagnostics) -> bool {
    let (Some(key), Some(item), Some(state)) = (module.key_item, module.state_item, &module.state) else {
        return false;
    };
    let Some(name) = &state.idle_by else { return true };
    let (key, state) = (key.ident.to_string(), item.ident.to_string());
    let function = module.functions.get(&name.to_string());
    let fits = function.is_some_and(|function| {
        let inputs = function.sig.inputs.iter();
        let returns = match &function.sig.output {
            ReturnType::Type(_, ty) => last_name(ty).is_some_and(|name| name == "Duration"),
            ReturnType::Default => false,
        };
        returns
            && inputs.len() == 2
            && inputs.zip([&key, &state]).all(|(input, name)| is_reference_to(input, name, false))
    });
    if !fits {
        diagnostics.report_at(
            codes::IDLE,
            function.map_or(name.span(), |function| function.sig.ident.span()),
            format!(
                "the store calls `{name}` with key and state, to know for how long it keeps an unused record"
            ),
            format!("write `pub fn {name}(key: &{key}, state: &{state}) -> Duration`"),
        );
    }
    fits && function.is_some_and(|function| check_plain(&function.sig, "the idle time", diagnostics))
}

/// Name and type of an argument bound to a plain name.
pub(crate) fn argument(input: &FnArg) -> Option<(&syn::PatIdent, &Type)> {
    match input {
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(name) => Some((name, &typed.ty)),
            _ => None,
        },
        FnArg::Receiver(_) => None,
    }
}

/// Last name of a path type, with or without generic arguments.
pub(crate) fn last_name(ty: &Type) -> Option<String> {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
        Type::Group(group) => last_name(&group.elem),
        Type::Paren(paren) => last_name(&paren.elem),
        _ => None,
    }
}

/// No `async`, `const` (arithmetic becomes calls that are not), `unsafe`, `extern`, generics.
pub(crate) fn check_plain(signature: &Signature, what: &str, diagnostics: &mut Diagnostics) -> bool {
    let mut plain = true;
    let mut reject = |tokens: proc_macro2::TokenStream, word: &str| {
        plain = false;
        diagnostics.report(
            codes::NOT_PLAIN,
            tokens,
            format!(
                "{what} cannot be {word}: it is compiled once, for a pipeline that runs it from start to end"
            ),
            format!("remove `{}`", if word == "generic" { "<..>" } else { word }),
        );
    };
    if let Some(token) = &signature.asyncness {
        reject(token.to_token_stream(), "async");
    }
    if let Some(token) = &signature.constness {
        reject(token.to_token_stream(), "const");
    }
    if let Some(token) = &signature.unsafety {
        reject(token.to_token_stream(), "unsafe");
    }
    if let Some(abi) = &signature.abi {
        reject(abi.extern_token.to_token_stream(), "extern");
    }
    if let Some(token) = &signature.variadic {
        reject(token.to_token_stream(), "variadic");
    }
    let lifetimes_only =
        signature.generics.params.iter().all(|p| matches!(p, syn::GenericParam::Lifetime(_)));
    if !lifetimes_only {
        reject(signature.generics.to_token_stream(), "generic");
    }
    plain
}

fn expect_input(input: &FnArg, name: &str, diagnostics: &mut Diagnostics) -> bool {
    let fits = argument(input).is_some() && is_reference_to(input, name, true);
    if !fits {
        report(input, &format!("this argument must be a name of type `&mut {name}`"), diagnostics);
    }
    fits
}

fn report(tokens: impl ToTokens, message: &str, diagnostics: &mut Diagnostics) {
    diagnostics.report(codes::HANDLER_SIGNATURE, tokens, message, format!("write `{HANDLER}`"));
}

fn is_reference_to(input: &FnArg, name: &str, mutable: bool) -> bool {
    let FnArg::Typed(typed) = input else { return false };
    let Type::Reference(reference) = &*typed.ty else { return false };
    reference.mutability.is_some() == mutable && last_name(&reference.elem).is_some_and(|last| last == name)
}

fn returns_result(output: &ReturnType, state: &str) -> bool {
    let ReturnType::Type(_, ty) = output else { return false };
    let Type::Path(path) = &**ty else { return false };
    let Some(last) = path.path.segments.last() else { return false };
    let PathArguments::AngleBracketed(list) = &last.arguments else { return false };
    let names: Vec<Option<String>> = list
        .args
        .iter()
        .map(|argument| match argument {
            GenericArgument::Type(ty) => last_name(ty),
            _ => None,
        })
        .collect();
    last.ident == "Result" && names == [Some(state.to_owned()), Some("Refusal".to_owned())]
}
