//! From the emitted P4 to a program of `simple_switch`.

use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use serde::Deserialize;
use siphasher::sip::SipHasher13;

/// The compiler.
const COMPILER: &str = "p4c-bm2-ss";

/// A compiled program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The file that `simple_switch` reads.
    pub path: PathBuf,
    /// Its registers, in the order of the file.
    pub registers: Vec<Register>,
}

/// A register array.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Register {
    /// As the runtime interface calls it: `NatIngress.rp_ticket.rp_ticket`.
    pub name: String,
    /// Cells.
    pub size: u32,
    /// Bits of a cell.
    #[serde(rename = "bitwidth")]
    pub bits: u16,
}

impl Register {
    /// Its name within its control: `rp_ticket`.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }
}

/// No program was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// There is no compiler.
    #[error("p4c-bm2-ss not found")]
    NoCompiler,
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The P4 has mistakes.
    #[error("{}:\n{said}", path.display())]
    Mistakes {
        /// The P4.
        path: PathBuf,
        /// What the compiler said.
        said: String,
    },
    /// What came out is no program.
    #[error("{}: {source}", path.display())]
    Output {
        /// The program.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Compiles a P4 file into a folder, unless the same text was compiled there by the same compiler before.
///
/// # Errors
/// [`CompileError`].
pub fn compile(p4: &Path, cache: &Path) -> Result<Program, CompileError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |source| CompileError::File { path, source }
    };
    let text = fs::read(p4).map_err(file(p4))?;
    let version =
        Command::new(COMPILER).arg("--version").output().map_err(|_| CompileError::NoCompiler)?.stdout;
    let mut hasher = SipHasher13::new();
    hasher.write(&version);
    hasher.write(&text);
    let stem = p4.file_stem().unwrap_or_default().to_string_lossy();
    let path = cache.join(format!("{stem}-{:016x}.json", hasher.finish()));
    if !path.is_file() {
        fs::create_dir_all(cache).map_err(file(cache))?;
        // Under a name of its own first: another process may be compiling the same.
        let fresh = path.with_extension(format!("{}.json", std::process::id()));
        let output = Command::new(COMPILER).arg(p4).arg("-o").arg(&fresh).output();
        let output = output.map_err(|_| CompileError::NoCompiler)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(CompileError::Mistakes { path: p4.to_owned(), said });
        }
        fs::rename(&fresh, &path).map_err(file(&fresh))?;
    }
    Program::read(&path)
}

impl Program {
    /// Reads a program that was compiled before.
    ///
    /// # Errors
    /// [`CompileError`].
    pub fn read(path: &Path) -> Result<Self, CompileError> {
        #[derive(Deserialize)]
        struct Compiled {
            register_arrays: Vec<Register>,
        }
        let text = fs::read_to_string(path)
            .map_err(|source| CompileError::File { path: path.to_owned(), source })?;
        let compiled: Compiled = serde_json::from_str(&text)
            .map_err(|source| CompileError::Output { path: path.to_owned(), source })?;
        Ok(Program { path: path.to_owned(), registers: compiled.register_arrays })
    }
}
