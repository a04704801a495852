//! The migrations are part of the program: build it anew when one is added.

fn main() {
    println!("cargo::rerun-if-changed=../sql");
}
