//! Runs the trials of the apps, and prints what came of them as JSON: what `cargo xtask apps` asks for.
//!
//! ```sh
//! cargo run --release -p apps --bin trials
//! ```

use apps::trial::{self, Size};

fn main() -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(&trial::run(Size::FULL)?)?);
    Ok(())
}
