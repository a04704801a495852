//! Tells the program which versions of the extension and of the tables it is built for. The migrations are
//! part of the program: it is built anew when one is added.

use std::fs;
use std::process::Command;

fn main() {
    let sources = [
        "../pg_extension/sql",
        "../pg_extension/matriarch.control",
        "../scripts/extension-sql",
        "../scripts/extension-version",
        "../sql",
    ];
    for path in sources {
        println!("cargo::rerun-if-changed={path}");
    }
    let printed = Command::new("../scripts/extension-version").output();
    let version = match printed {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        failed => panic!("scripts/extension-version failed: {failed:?}"),
    };
    println!("cargo::rustc-env=BUILT_EXTENSION_VERSION={version}");
    let number = |name: &str| name.strip_prefix('V')?.split_once("__")?.0.parse::<u32>().ok();
    let files = fs::read_dir("../sql").into_iter().flatten().flatten();
    let newest = files.filter_map(|file| number(&file.file_name().to_string_lossy())).max();
    println!("cargo::rustc-env=BUILT_SCHEMA_VERSION={}", newest.unwrap_or_default());
}
