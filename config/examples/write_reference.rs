//! Writes `docs/settings.md` and `config/rollcall.example.toml` from the declarations of the settings.

use rollcall_config::reference;
use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::write(config.join("rollcall.example.toml"), reference::example())?;
    fs::write(config.join("../docs/settings.md"), reference::page())
}
