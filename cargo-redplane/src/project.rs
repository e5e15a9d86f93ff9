//! `cargo redplane new`: the files of a project.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::template::{TEMPLATES, Template};

/// Names that a package of the project already has, or that cargo refuses.
const TAKEN: [&str; 9] = [
    "backend-store",
    "core",
    "project",
    "redplane-codegen",
    "redplane-lab",
    "redplane-sdk",
    "std",
    "test",
    "build",
];

/// Makes a project in a folder of its name; gives what to say about it.
pub(crate) fn create(name: &str, template: &str, sdk: Option<PathBuf>) -> Result<String> {
    check_name(name)?;
    let Some(chosen) = Template::find(template) else {
        let names = TEMPLATES.each_ref().map(|template| template.name).join(", ");
        bail!("there is no template `{template}`; the templates are: {names}");
    };
    let sdk = find_sdk(sdk)?;
    let folder = Path::new(name);
    if folder.exists() {
        bail!("`{name}` is taken: the folder exists; choose another name");
    }
    let files = [
        ("Cargo.toml", manifest(name, &sdk)),
        (".gitignore", "/target\n".to_owned()),
        ("build.rs", chosen.build()),
        ("src/lib.rs", chosen.library()),
        ("src/main.rs", chosen.main(&name.replace('-', "_"))),
    ];
    fs::create_dir_all(folder.join("src")).with_context(|| format!("cannot make `{name}`"))?;
    for (path, text) in &files {
        fs::write(folder.join(path), text).with_context(|| format!("cannot write `{name}/{path}`"))?;
    }
    // The versions that the SDK is tested with.
    let lock = "Cargo.lock";
    if sdk.join(lock).is_file() {
        fs::copy(sdk.join(lock), folder.join(lock))
            .with_context(|| format!("cannot write `{name}/{lock}`"))?;
    }
    Ok(format!(
        "{name}: the app is in src/lib.rs, its demo and its tests in src/main.rs\n\n    \
         cd {name}\n    cargo test\n    cargo run\n\nEach build writes the P4 to p4-out/{app}/v1model/{app}.p4\n",
        app = chosen.name
    ))
}

/// A name for a package, and in `snake_case` for a crate.
fn check_name(name: &str) -> Result<()> {
    let plain =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_".contains(letter);
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) || !name.chars().all(plain) {
        bail!(
            "`{name}` is no name for a package: use lower-case letters, digits, `-` and `_`, a letter first"
        );
    }
    if syn::parse_str::<syn::Ident>(&name.replace('-', "_")).is_err() {
        bail!("`{name}` is a word of Rust; choose another name");
    }
    if TAKEN.contains(&name.replace('_', "-").as_str()) {
        bail!("`{name}` is the name of another package that the project needs; choose another name");
    }
    Ok(())
}

/// The SDK's checkout, by its whole path.
fn find_sdk(given: Option<PathBuf>) -> Result<PathBuf> {
    let built_from = || Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf);
    let path =
        given.or_else(built_from).context("this command was built outside of a checkout; give --sdk-path")?;
    if !path.join("redplane-sdk/Cargo.toml").is_file() {
        bail!("{} is no checkout of the SDK; give one with --sdk-path", path.display());
    }
    path.canonicalize().with_context(|| format!("cannot read {}", path.display()))
}

fn manifest(name: &str, sdk: &Path) -> String {
    let at = |package: &str| format!("{package} = {{ path = {:?} }}", sdk.join(package));
    format!(
        r#"[package]
name = "{name}"
version = "0.1.0"
edition = "2024"
publish = false

[dependencies]
{lab}
{sdk}

[build-dependencies]
{codegen}

# A workspace of its own, wherever it lies.
[workspace]

[profile.dev]
debug = "line-tables-only"

# The compiler of apps is what a build waits for.
[profile.dev.build-override]
opt-level = 1
"#,
        lab = at("redplane-lab"),
        sdk = at("redplane-sdk"),
        codegen = at("redplane-codegen"),
    )
}
