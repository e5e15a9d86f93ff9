//! The file in which the static coordinator keeps the chains across its own restart.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::CoordinationError;
use super::table::TableRecord;

/// Version of the file's format.
const FORMAT: u32 = 1;

/// Longest file that is read: 256 shards of 16 nodes take a third of it.
const STATE_LEN_MAX: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    format: u32,
    /// CRC-32 of `table` as compact JSON.
    checksum: u32,
    table: TableRecord,
}

/// Reads the file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<TableRecord>, CoordinationError> {
    let failed = |source| CoordinationError::StateUnreadable { path: path.to_owned(), source };
    let len = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if len > STATE_LEN_MAX {
        return Err(corrupt(path, format!("its {len} bytes are more than {STATE_LEN_MAX}")));
    }
    let bytes = fs::read(path).map_err(failed)?;
    parse(&bytes).map(Some).map_err(|why| corrupt(path, why))
}

/// Reads the file's content; says why it is not what [`to_bytes`] writes.
pub(super) fn parse(bytes: &[u8]) -> Result<TableRecord, String> {
    let file: StateFile = serde_json::from_slice(bytes).map_err(|why| why.to_string())?;
    if file.format != FORMAT {
        return Err(format!("its format is {}, not {FORMAT}", file.format));
    }
    let found = checksum(&file.table).map_err(|why| why.to_string())?;
    if file.checksum != found {
        return Err(format!("its checksum is {:08x}, its content's {found:08x}", file.checksum));
    }
    Ok(file.table)
}

/// The file's content.
pub(super) fn to_bytes(table: TableRecord) -> Result<Vec<u8>, serde_json::Error> {
    let file = StateFile { format: FORMAT, checksum: checksum(&table)?, table };
    let mut bytes = serde_json::to_vec_pretty(&file)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Replaces the file, so that after a loss of power there is the old one or the new one, and it is the new one as soon as
/// this is done.
pub(crate) fn write(path: &Path, table: TableRecord) -> Result<(), CoordinationError> {
    let failed = |source| CoordinationError::StateUnwritable { path: path.to_owned(), source };
    let attempt = || {
        let temporary = temporary(path);
        let mut out = File::create(&temporary)?;
        out.write_all(&to_bytes(table)?)?;
        out.sync_all()?;
        fs::rename(&temporary, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    attempt().map_err(failed)
}

pub(crate) fn corrupt(path: &Path, why: String) -> CoordinationError {
    CoordinationError::StateCorrupt { path: path.to_owned(), why }
}

fn checksum(table: &TableRecord) -> Result<u32, serde_json::Error> {
    Ok(crc32fast::hash(&serde_json::to_vec(table)?))
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}
