//! Writes the vectors of the archive format into `fixtures/archive/v1`.
//!
//! `just vectors` runs it; its diff is to be read: a byte that changes in an
//! accepted vector is another format.

mod accepted;
#[path = "../../tests/vectors/compute.rs"]
mod compute;
#[path = "../../tests/vectors/given.rs"]
mod given;
mod rejected;

use std::path::Path;

use serde_json::{Value, json};

/// Longest list or object on one line, in characters.
const LINE: usize = 100;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/archive/v1");
    let accepted = accepted::all().into_iter().map(|vector| {
        let expect = compute::expect(vector.kind, &vector.given);
        let file = json!({
            "description": vector.description,
            "expect": expect,
            "given": vector.given,
            "kind": vector.kind,
        });
        (vector.name.to_owned(), file)
    });
    write(&root.join("accepted"), accepted)?;
    let rejected = rejected::all().into_iter().map(|vector| {
        let refused = compute::refusal(vector.kind, &vector.given);
        let refused = refused.unwrap_or_else(|| panic!("{} is accepted", vector.name));
        let file = json!({
            "given": vector.given,
            "kind": vector.kind,
            "refused": refused,
            "rule": vector.description,
        });
        (vector.name.to_owned(), file)
    });
    write(&root.join("rejected"), rejected)
}

/// One vector to be written.
pub struct Vector {
    /// Name of its file.
    pub name: &'static str,
    /// What it is of.
    pub kind: &'static str,
    /// What it shows, or the rule it breaks.
    pub description: &'static str,
    /// What the reader is given.
    pub given: Value,
}

/// Makes a folder hold these files alone.
fn write(folder: &Path, files: impl Iterator<Item = (String, Value)>) -> std::io::Result<()> {
    let files: Vec<_> = files.collect();
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::create_dir_all(folder)?;
    for (name, value) in files {
        let path = folder.join(name).with_extension("json");
        assert!(!path.exists(), "two vectors are called {}", path.display());
        let mut text = String::new();
        print(&value, 0, &mut text);
        text.push('\n');
        std::fs::write(path, text)?;
    }
    Ok(())
}

/// What fits a line stays on one, so that a diff shows one thing a line.
fn print(value: &Value, depth: usize, out: &mut String) {
    let compact = value.to_string();
    let indent = |depth| "\n".to_owned() + &"  ".repeat(depth);
    match value {
        Value::Array(items) if compact.len() > LINE => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                out.push_str(&indent(depth + 1));
                print(item, depth + 1, out);
            }
            out.push_str(&indent(depth));
            out.push(']');
        }
        Value::Object(fields) if depth == 0 || compact.len() > LINE => {
            out.push('{');
            for (at, (name, field)) in fields.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                out.push_str(&indent(depth + 1));
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push_str(": ");
                print(field, depth + 1, out);
            }
            out.push_str(&indent(depth));
            out.push('}');
        }
        _ => out.push_str(&compact),
    }
}
