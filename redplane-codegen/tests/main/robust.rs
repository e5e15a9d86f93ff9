//! Half-typed and garbled programs: the macro answers, it never panics.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::ToTokens;

use crate::common::app_item;
use crate::nat::NAT;

/// A token, or one end of a group.
#[derive(Clone)]
enum Flat {
    Token(TokenTree),
    Open(Delimiter),
    Close,
}

fn flatten(tokens: TokenStream, out: &mut Vec<Flat>) {
    for tree in tokens {
        match tree {
            TokenTree::Group(group) => {
                out.push(Flat::Open(group.delimiter()));
                flatten(group.stream(), out);
                out.push(Flat::Close);
            }
            token => out.push(Flat::Token(token)),
        }
    }
}

/// Builds the stream again; groups that are not closed end at the end, surplus ends are ignored.
fn gather(flat: &[Flat]) -> TokenStream {
    let mut open: Vec<(Delimiter, Vec<TokenTree>)> = vec![(Delimiter::None, Vec::new())];
    let close = |open: &mut Vec<(Delimiter, Vec<TokenTree>)>| {
        if open.len() > 1
            && let Some((delimiter, inner)) = open.pop()
            && let Some((_, outer)) = open.last_mut()
        {
            outer.push(Group::new(delimiter, inner.into_iter().collect()).into());
        }
    };
    for part in flat {
        match part {
            Flat::Token(token) => open.last_mut().expect("the outermost is open").1.push(token.clone()),
            Flat::Open(delimiter) => open.push((*delimiter, Vec::new())),
            Flat::Close => close(&mut open),
        }
    }
    while open.len() > 1 {
        close(&mut open);
    }
    open.pop().expect("the outermost is open").1.into_iter().collect()
}

fn nat() -> (TokenStream, Vec<Flat>) {
    let (arguments, module) = app_item(NAT);
    let mut flat = Vec::new();
    flatten(module.to_token_stream(), &mut flat);
    (arguments, flat)
}

/// Expands, and asks that what is refused has a reason.
fn try_out(arguments: &TokenStream, flat: &[Flat]) {
    let tokens = gather(flat);
    let expanded = redplane_codegen::expand(arguments.clone(), tokens.clone());
    let Ok(module) = syn::parse2::<syn::ItemMod>(tokens) else {
        assert!(expanded.to_string().contains("compile_error"));
        return;
    };
    match redplane_codegen::parse_app(arguments.clone(), &module) {
        Ok(app) => assert!(!redplane_codegen::canonical(&app).is_empty()),
        Err(diagnostics) => assert!(!diagnostics.is_empty(), "refused without a reason"),
    }
}

/// xorshift64*: enough for choosing tokens.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}

#[test]
fn every_prefix_is_answered() {
    let (arguments, flat) = nat();
    for end in 0..=flat.len() {
        try_out(&arguments, &flat[..end]);
    }
}

#[test]
fn garbled_programs_are_answered() {
    const ROUNDS: u64 = 400;
    let (arguments, flat) = nat();
    for seed in 1..=ROUNDS {
        let mut random = Random(seed);
        let mut garbled = flat.clone();
        for _ in 0..=random.below(4) {
            let (at, other) = (random.below(garbled.len()), random.below(garbled.len()));
            match random.below(4) {
                0 => drop(garbled.remove(at)),
                1 => garbled.swap(at, other),
                2 => garbled.insert(at, garbled[other].clone()),
                _ => garbled[at] = garbled[other].clone(),
            }
        }
        let outcome = std::panic::catch_unwind(|| try_out(&arguments, &garbled));
        assert!(outcome.is_ok(), "seed {seed}: {}", gather(&garbled));
    }
}
